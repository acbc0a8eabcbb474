-- SPDX-License-Identifier: MIT
--
-- lualign.data.known: what lualign fetch knows: data sets and checkpoints, where their publishers have them, and how
-- they must lie. One row each; a new one needs nothing but its row.
--
--   name     what is typed                          title    what it is, in a line
--   into     the folder, unless --into names one    terms    licence or terms of use
--   known    what is known about its addresses, shown when one of them fails
--   layout   what must be there in the end, for those who place it by hand
--   files    list of
--     url      its address, or a list that is tried in turn
--     as       name of the file
--     bytes    exact size; about: roughly, only shown     sha256, md5: checksum, or its first 8 or more digits
--     unpack   true for an archive, then also
--       gives    what of it must be there: paths below the folder
--       from     the folder in it whose contents are meant
--       inner    archives in it that are unpacked in turn
--       rename   { { "old", "new" }, ... } after that

local WILLOW <const> = "https://www.di.ens.fr/willow/research/"
local LISTS <const> = WILLOW .. "cnngeometric/other_resources/"
local MODELS <const> = WILLOW .. "weakalign/trained_models/"
local OLD_MODELS <const> = WILLOW .. "cnngeometric/trained_models/pytorch/"
local WEAKALIGN <const> = "https://raw.githubusercontent.com/ignacio-rocco/weakalign/"
  .. "52505eaeed52dc82cf755919b119ef99fe8b1ed1/training_data/"
local NCNET <const> = "https://raw.githubusercontent.com/ignacio-rocco/ncnet/"
  .. "116a9141f3a5ae16affa1f7c3c9f83899960ea3e/datasets/pf-pascal/image_pairs/"
local TORCHVISION <const> = "https://download.pytorch.org/models/"
local TIMM <const> = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"

local PHOTOS <const> = "no licence given, citation asked for; photographs of PASCAL VOC (Flickr's terms, research)"
local WILLOW_HOST <const> = "users have reported failures of the lists and models on www.di.ens.fr"
local IMAGENET <const> = "; trained on ImageNet, whose terms ask for non-commercial research"

local rows <const> = {
  {
    name = "pf-willow", title = "PF-WILLOW: 900 pairs of photographs with ten keypoints",
    into = "datasets/proposal-flow-willow",
    terms = "no licence given, citation asked for; photographs of PASCAL VOC 2007 and Caltech-256",
    known = WILLOW_HOST .. "; photographs are also in github.com/bsham/ProposalFlow, "
      .. "PF-dataset-WILLOW",
    layout = { "PF-dataset/<car(G), ...>/*.png and *.mat", "test_pairs_pf.csv" },
    files = {
      { url = WILLOW .. "proposalflow/dataset/PF-dataset.zip", as = "PF-dataset.zip", unpack = true,
        gives = { "PF-dataset" } },
      { url = LISTS .. "test_pairs_pf.csv", as = "test_pairs_pf.csv" },
    },
  },
  {
    name = "pf-pascal", title = "PF-PASCAL: photographs of 20 classes, lists of 2940, 308 and 299 pairs",
    into = "datasets/proposal-flow-pascal", terms = PHOTOS,
    known = WILLOW_HOST .. "; NC-Net's repository has the same test pairs in another order",
    layout = { "PF-dataset-PASCAL/JPEGImages/*.jpg", "PF-dataset-PASCAL/Annotations/<class>/*.mat",
      "test_pairs_pf_pascal.csv, val_pairs_pf_pascal.csv, all_pairs_pf_pascal.csv", "train_pairs.csv" },
    files = {
      { url = WILLOW .. "proposalflow/dataset/PF-dataset-PASCAL.zip", as = "PF-dataset-PASCAL.zip", unpack = true,
        gives = { "PF-dataset-PASCAL/JPEGImages" } },
      { url = { LISTS .. "test_pairs_pf_pascal.csv", NCNET .. "test_pairs.csv" }, as = "test_pairs_pf_pascal.csv" },
      { url = LISTS .. "val_pairs_pf_pascal.csv", as = "val_pairs_pf_pascal.csv" },
      { url = LISTS .. "all_pairs_pf_pascal.csv", as = "all_pairs_pf_pascal.csv" },
      { url = WEAKALIGN .. "pf-pascal-flip/train_pairs.csv", as = "train_pairs.csv", bytes = 277757,
        sha256 = "5448846c11c12100fda3d30fdbc31bca9cfc2ec9687a825fa6e754ea79cdb4fa" },
    },
  },
  {
    name = "pf-pascal-lists", title = "the pair lists of PF-PASCAL alone, as NC-Net's repository has them",
    into = "datasets/proposal-flow-pascal-lists", terms = "MIT",
    layout = { "train_pairs.csv", "val_pairs.csv (no keypoints)", "test_pairs.csv" },
    files = {
      { url = NCNET .. "train_pairs.csv", as = "train_pairs.csv", bytes = 277757,
        sha256 = "e7604e992744706b0ec0ed9fad240b5e0e45f38c13eaf567af0338ec8a50f40f" },
      { url = NCNET .. "val_pairs.csv", as = "val_pairs.csv", bytes = 29131,
        sha256 = "a9dd7f303abc7ee31c51fe73f39923a6880d4dc9aa4d7af38d5f15a7345407f5" },
      { url = NCNET .. "test_pairs.csv", as = "test_pairs.csv", bytes = 164029,
        sha256 = "1891bfd52cac67898aa5b65a50818e315e5228b956fdda1baad400e6a89c6fe6" },
    },
  },
  {
    name = "caltech-101", title = "Caltech-101 with outlines, and the authors' 1515 test pairs",
    into = "datasets/caltech-101", terms = "CC BY 4.0 (Li, Andreeto, Ranzato, Perona; DOI 10.22002/D1.20086)",
    known = "the authors' code names www.vision.caltech.edu/Image_Datasets, which has moved to data.caltech.edu; the "
      .. "list of pairs was reported dead to the authors once",
    layout = { "101_ObjectCategories/<class>/image_XXXX.jpg",
      "Annotations/<class>/annotation_XXXX.mat (Airplanes_Side_2, Faces_2, Faces_3 and Motorbikes_16 renamed "
        .. "airplanes, Faces, Faces_easy and Motorbikes)", "test_pairs_caltech_with_category.csv" },
    files = {
      { url = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip", as = "caltech-101.zip",
        about = 137e6, md5 = "3138e1922a9193bfa496528edbbc45d0", unpack = true, from = "caltech-101",
        inner = { "101_ObjectCategories.tar.gz", "Annotations.tar" },
        rename = { { "Annotations/Airplanes_Side_2", "Annotations/airplanes" },
          { "Annotations/Faces_2", "Annotations/Faces" }, { "Annotations/Faces_3", "Annotations/Faces_easy" },
          { "Annotations/Motorbikes_16", "Annotations/Motorbikes" } },
        gives = { "101_ObjectCategories", "Annotations" } },
      { url = WILLOW .. "weakalign/other_resources/test_pairs_caltech_with_category.csv",
        as = "test_pairs_caltech_with_category.csv" },
    },
  },
  {
    name = "tss", title = "TSS: 400 pairs with flow and masks (FG3DCar, JODS, PASCAL)",
    into = "datasets/tss", terms = "no licence given; research, citation asked for",
    known = "the address is the first one, of the University of Tokyo; later work names a copy "
      .. "for the browser, drive.google.com/file/d/0B-VxeI7PlJE1U3FyTGVpbUFtcjg; the data set's page is "
      .. "taniai.space/projects/cvpr16_dccs",
    layout = { "TSS_CVPR2016/<FG3DCar, JODS or PASCAL>/<pair>/image1.png, image2.png, mask1.png, mask2.png, "
      .. "flow1.flo, flow2.flo", "test_pairs_tss.csv" },
    files = {
      { url = "http://www.hci.iis.u-tokyo.ac.jp/datasets/data/JointCorrCoseg/TSS_CVPR2016.zip",
        as = "TSS_CVPR2016.zip", unpack = true, gives = { "TSS_CVPR2016" } },
      { url = LISTS .. "test_pairs_tss.csv", as = "test_pairs_tss.csv" },
    },
  },
  {
    name = "pascal-voc-2011", title = "PASCAL VOC 2011 photographs, and the lists of the strong training",
    into = "datasets/pascal-voc11", terms = "Flickr's terms; research",
    known = "host.robots.ox.ac.uk is often slow or away; the part that came is kept, so try again later",
    layout = { "TrainVal/VOCdevkit/VOC2011/JPEGImages/*.jpg", "train.csv", "test.csv (which is the validation list)" },
    files = {
      { url = { "https://thor.robots.ox.ac.uk/pascal/VOC/voc2011/VOCtrainval_25-May-2011.tar",
          "http://host.robots.ox.ac.uk/pascal/VOC/voc2011/VOCtrainval_25-May-2011.tar" },
        as = "VOCtrainval_25-May-2011.tar", about = 1.7e9, md5 = "6c3384ef61512963050cb5d687e5bf1e", unpack = true,
        gives = { "TrainVal/VOCdevkit/VOC2011/JPEGImages" } },
      { url = WEAKALIGN .. "pascal-random/train.csv", as = "train.csv", bytes = 729006,
        sha256 = "5807374f87a0f7696d27d33b77acc7b111df25c5dd3ba47a8c17e6224083bf85" },
      { url = WEAKALIGN .. "pascal-random/test.csv", as = "test.csv", bytes = 30246,
        sha256 = "3be3c2281860442b2f1928496dcef499b4ba3c5b53e2b8b2774d8635059403f0" },
    },
  },
  {
    name = "pascal-parts", title = "PASCAL-Parts as the authors evaluate it: photographs, part masks, keypoints",
    into = "datasets/pascal-parts", terms = PHOTOS,
    known = WILLOW_HOST .. "; no other copy in this layout is known, and the list of pairs has no address of its own",
    layout = { "<folders of the archive>/*.jpg, with <image>_new.mat beside each",
      "test_pairs_pascal_parts.csv (source, target), which comes with the archive or must be made" },
    files = {
      { url = LISTS .. "pascal_data.tar", as = "pascal_data.tar", unpack = true },
    },
  },
  {
    name = "spair-71k", title = "SPair-71k: 70958 pairs of 18 classes with keypoints", into = "datasets",
    terms = "no licence given; photographs of PASCAL VOC, PASCAL 3D+ (Flickr's terms, research)",
    known = "a copy is huggingface.co/datasets/0jl/SPair-71k, packed differently",
    layout = { "SPair-71k/JPEGImages/<class>/*.jpg", "SPair-71k/PairAnnotation/<trn, val or test>/*.json",
      "SPair-71k/Layout/<large or small>/<trn, val or test>.txt" },
    files = {
      { url = { "https://cvlab.postech.ac.kr/research/SPair-71k/data/SPair-71k.tar.gz",
          "http://cvlab.postech.ac.kr/research/SPair-71k/data/SPair-71k.tar.gz" },
        as = "SPair-71k.tar.gz", about = 227e6, unpack = true,
        gives = { "SPair-71k/JPEGImages", "SPair-71k/PairAnnotation", "SPair-71k/Layout" } },
    },
  },
}

-- ---- checkpoints: one file each ----

local function checkpoint(name, title, url, terms, more)
  local file <const> = { url = url, as = url:match "[^/]*$" }
  for key, value in pairs(more or {}) do
    file[key] = value
  end
  rows[#rows + 1] = {
    name = name, title = title, into = "trained_models", terms = terms, files = { file },
    known = url:find("di.ens.fr", 1, true) and WILLOW_HOST or nil, layout = { file.as },
  }
end

local AUTHORS <const> = "MIT (the authors' code; nothing is said of the weights)" .. IMAGENET
local function authors(base, list)
  for _, one in ipairs(list) do
    checkpoint(one[1], one[2], base .. one[3], AUTHORS)
  end
end

authors(MODELS, {
  { "weakalign", "the paper's network: ResNet-101, affine and TPS, weakly trained",
    "weakalign_resnet101_affine_tps.pth.tar" },
  { "cnngeo-resnet101-affine", "CNNGeometric, ResNet-101, affine, strongly trained",
    "cnngeo_resnet101_affine.pth.tar" },
  { "cnngeo-resnet101-tps", "CNNGeometric, ResNet-101, TPS, strongly trained", "cnngeo_resnet101_tps.pth.tar" },
  { "cnngeo-vgg16-affine", "CNNGeometric, VGG-16, affine, strongly trained", "cnngeo_vgg16_affine.pth.tar" },
  { "cnngeo-vgg16-tps", "CNNGeometric, VGG-16, TPS, strongly trained", "cnngeo_vgg16_tps.pth.tar" },
})
authors(OLD_MODELS, {
  { "cnngeometric-2017-affine", "cnngeometric_pytorch of 2017, VGG-16, affine, StreetView",
    "best_streetview_checkpoint_adam_affine_grid_loss.pth.tar" },
  { "cnngeometric-2017-tps", "cnngeometric_pytorch of 2017, VGG-16, TPS, StreetView",
    "best_streetview_checkpoint_adam_tps_grid_loss.pth.tar" },
  { "cnngeometric-2017-resnet101-affine", "cnngeometric_pytorch of 2017, ResNet-101, affine, PASCAL",
    "best_pascal_checkpoint_adam_affine_grid_loss_resnet_random.pth.tar" },
  { "cnngeometric-2017-resnet101-tps", "cnngeometric_pytorch of 2017, ResNet-101, TPS, PASCAL",
    "best_pascal_checkpoint_adam_tps_grid_loss_resnet_random.pth.tar" },
  { "cnngeometric-streetview-affine", "cnngeometric_pytorch of 2019, VGG-16, affine, StreetView",
    "best_streetview_checkpoint_adam_affine_grid_loss_PAMI.pth.tar" },
  { "cnngeometric-streetview-hom", "cnngeometric_pytorch of 2019, VGG-16, homography, StreetView",
    "best_streetview_checkpoint_adam_hom_grid_loss_PAMI.pth.tar" },
  { "cnngeometric-streetview-tps", "cnngeometric_pytorch of 2019, VGG-16, TPS, StreetView",
    "best_streetview_checkpoint_adam_tps_grid_loss_PAMI.pth.tar" },
})

-- The first digits of the SHA-256 stand in the file's name; sizes in MiB.
for _, one in ipairs {
  { "resnet18", "f37072fd", 44.661 }, { "resnet34", "b627a593", 83.275 }, { "resnet50", "0676ba61", 97.781 },
  { "resnet101", "63fe2227", 170.511 }, { "resnet152", "394f9c45", 230.434 }, { "vgg16", "397923af", 527.796 },
  { "vgg19", "dcbb9e9d", 548.051 }, { "densenet201", "c1103571", 77.373 }, { "mobilenet_v2", "b0353104", 13.555 },
} do
  checkpoint(one[1], "torchvision's trunk, IMAGENET1K_V1", TORCHVISION .. one[1] .. "-" .. one[2] .. ".pth",
    "BSD-3-Clause" .. IMAGENET, { sha256 = one[2], about = one[3] * 2 ^ 20 })
end
checkpoint("mobilenetv2_100", "timm's trunk, ra_in1k", TIMM .. "mobilenetv2_100_ra-b33bc2c4.pth",
  "Apache-2.0" .. IMAGENET, { sha256 = "b33bc2c4", about = 14e6 })

return rows
