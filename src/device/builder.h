/* SPDX-License-Identifier: MIT
 *
 * builder.h -- building programs in other processes: a compiler that crashes takes its own process down and not ours,
 * and several programs are built at once.
 *
 * LUALIGN_BUILDER names the program to start, with --serve-builds as its argument: lualign itself, which sets it to its
 * own path. Without it, or with an empty one, everything is built in this process. A helper lives as long as there is
 * work, and some seconds more.
 */
#ifndef LA_BUILDER_H
#define LA_BUILDER_H

#include "device/internal.h"
#include "device/wire.h"

/* Work given to a helper process. */
typedef struct la_job {
    struct la_job *next;
    char *program, *options, *entry; /* for messages */
    la_blob part[LA_WIRE_PARTS];     /* the request; parts lie in block */
    int parts;
    void *block;
    enum { LA_JOB_WAITING, LA_JOB_RUNNING, LA_JOB_DONE } state;
    bool unable;    /* no helper could be had, or it has no such device: do it here */
    bool crashed;   /* the helper died of it */
    int lost;       /* helpers that left without doing it */
    int code;       /* once done: 0, or a negative code and */
    char *message;  /* why */
    la_blob output; /* once done well: the binary, or what a probe's launch left; lies in reply */
    void *reply;
} la_job;

/* Whether helpers can be had. */
bool la__builder_possible(const la_device *dev);

/* Asks for the program's binary; NULL where no helper can be had. */
la_job *la__job_build(la_device *dev, const la_program *p, const char *entry);

/* Asks for one launch, see la__program_probe; NULL where no helper can be had. */
la_job *la__job_launch(la_device *dev, const la_launch *what, const char *text, const la_probe_arg *args, int nargs);

/* Hands out and takes in what there is; with `wait` until the job is done. True if it is. */
bool la__job_done(la_device *dev, la_job *job, bool wait);
void la__job_free(la_device *dev, la_job *job);

/* Tells the listener of a program that was built here. */
void la__build_counted(la_device *dev, const char *program, const char *options, double seconds, const char *error);

/* Ends the helpers. */
void la__builder_close(la_device *dev);

/* ---- for the two ends of the wire ---- */

enum { LA_REQUEST_BUILD = 1, LA_REQUEST_LAUNCH = 2, LA_PROBE_ARGS = 24 };

/* The first part of a request. After it come program, options, entry, text, and a probe's arguments. */
typedef struct la_request {
    int kind, device, nargs;
    size_t global[3], local[3];
    bool buffer[LA_PROBE_ARGS];
} la_request;

/* A helper that has come up sends one empty part. The first part of a reply. After it come the message and the output.
 */
typedef struct la_reply {
    int code;
    bool unable;
    double seconds;
} la_reply;

enum { LA_REQUEST_HEAD = 5, LA_REPLY_PARTS = 3, LA_BUILDER_FD = 3 };

#endif
