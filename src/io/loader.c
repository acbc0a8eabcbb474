/* SPDX-License-Identifier: MIT
 *
 * loader.c -- threads that decode pictures ahead of their use.
 *
 * Jobs form a list from the oldest not yet taken to the newest. Threads take the first that nobody works at, as long as
 * it is among the first `ahead` of the list: what waits decoded is bounded, what is merely asked for is not, so that
 * submitting never waits and whoever takes always finds its picture being made. Only the caller's thread sees a device.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/picture.h"
#include "tensor/tensor.h"
#include "util/util.h"

enum { MOST_THREADS = 64, MESSAGE = 1024 };

typedef struct job {
    struct job *next;
    la_image_options options;
    la_picture picture;
    bool done;
    int code;
    char *message; /* of a failure */
    char path[];
} job;

struct la_loader {
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    job *first, *last; /* not yet taken */
    job *todo;         /* the first that no thread has begun */
    int64_t submitted, begun, taken;
    int ahead, threads;
    bool stop;
    pthread_t thread[MOST_THREADS];
};

static void free_job(job *j)
{
    la__picture_free(&j->picture);
    free(j->message);
    free(j);
}

/* Decodes into the job; what goes wrong is kept as text, since la_error belongs to this thread. */
static void run_job(job *j)
{
    j->code = la__picture_load(&j->picture, j->path, &j->options);
    if (j->code >= 0)
        j->code = la__picture_to_float(&j->picture);
    if (j->code < 0)
        j->message = strndup(la_error(), MESSAGE);
}

static void *worker(void *data)
{
    la_loader *l = data;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->stop && (!l->todo || l->begun - l->taken >= l->ahead))
            pthread_cond_wait(&l->work, &l->lock);
        if (l->stop)
            break;
        job *j = l->todo;
        l->todo = j->next;
        l->begun++;
        pthread_mutex_unlock(&l->lock);
        run_job(j);
        pthread_mutex_lock(&l->lock);
        j->done = true;
        pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Starts one thread that leaves all signals to the others. */
static bool start(la_loader *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&l->thread[l->threads], NULL, worker, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        l->threads++;
    return !failed;
}

int la__loader_open(la_loader **out, int threads, int ahead)
{
    *out = NULL;
    if (threads < 1 || threads > MOST_THREADS)
        return la_fail(LA_EARG, "loader: threads must be between 1 and %d, got %d", MOST_THREADS, threads);
    if (ahead < 1)
        return la_fail(LA_EARG, "loader: ahead must be at least 1, got %d", ahead);
    la_loader *l = la__calloc(1, sizeof *l);
    if (!l)
        return LA_ENOMEM;
    l->ahead = ahead > threads ? ahead : threads;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    while (l->threads < threads && start(l)) {}
    if (l->threads == 0) {
        la__loader_close(l);
        return la_fail(LA_ENOMEM, "loader: no thread could be started");
    }
    *out = l;
    return 0;
}

void la__loader_close(la_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++)
        pthread_join(l->thread[i], NULL);
    while (l->first) {
        job *j = l->first;
        l->first = j->next;
        free_job(j);
    }
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int la__loader_submit(la_loader *l, const char *path, const la_image_options *options)
{
    const size_t length = strlen(path) + 1;
    job *j = la__calloc(1, sizeof *j + length);
    if (!j)
        return LA_ENOMEM;
    memcpy(j->path, path, length);
    if (options)
        j->options = *options;
    pthread_mutex_lock(&l->lock);
    if (l->first)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
    if (!l->todo)
        l->todo = j;
    l->submitted++;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

int64_t la__loader_pending(la_loader *l)
{
    pthread_mutex_lock(&l->lock);
    const int64_t n = l->submitted - l->taken;
    pthread_mutex_unlock(&l->lock);
    return n;
}

int la__loader_take(la_picture *out, la_loader *l)
{
    *out = (la_picture){ 0 };
    pthread_mutex_lock(&l->lock);
    job *j = l->first;
    if (j) {
        while (!j->done)
            pthread_cond_wait(&l->ready, &l->lock);
        l->first = j->next;
        l->taken++;
        pthread_cond_broadcast(&l->work);
    }
    pthread_mutex_unlock(&l->lock);
    if (!j)
        return la_fail(LA_EARG, "loader: nothing was submitted that is not taken yet");
    const int code = j->code;
    if (code < 0)
        la_fail(code, "%s", j->message ? j->message : "out of memory");
    else {
        *out = j->picture;
        j->picture = (la_picture){ 0 };
    }
    free_job(j);
    return code;
}

/* ---- onto the device ---- */

int la__loader_next(la_tensor **out, la_loader *l, la_device *dev)
{
    int err = 0;
    la_picture p;
    *out = NULL;
    LA_TRY(la__loader_take(&p, l));
    LA_TRY(la_tensor_from(out, dev, LA_F32, LA_DIMS(p.height, p.width, 3), p.floats));
done:
    la__picture_free(&p);
    return err;
}

/* Puts picture i of n into *data, which the first one makes; *first has its size. */
static int place(float **data, la_picture *first, const la_picture *p, int i, int n)
{
    const size_t size = (size_t)p->height * (size_t)p->width * 3;
    if (!*data) {
        *data = la__calloc(size * (size_t)n, sizeof **data);
        if (!*data)
            return LA_ENOMEM;
        first->height = p->height;
        first->width = p->width;
    }
    if (p->height != first->height || p->width != first->width)
        return la_fail(LA_ESHAPE,
                       "batch: pictures must be of one size (submit them with the option size), got %d x %d "
                       "and, as number %d, %d x %d",
                       first->height, first->width, i + 1, p->height, p->width);
    memcpy(*data + size * (size_t)i, p->floats, size * sizeof **data);
    return 0;
}

int la__loader_batch(la_tensor **out, la_loader *l, la_device *dev, int n)
{
    int err = 0;
    la_picture first = { 0 };
    float *data = NULL;
    char message[MESSAGE];
    *out = NULL;
    const int64_t pending = la__loader_pending(l);
    if (n < 1 || n > pending)
        return la_fail(LA_EARG, "batch: n must be between 1 and the %lld pictures submitted and not taken, got %d",
                       (long long)pending, n);
    for (int i = 0; i < n; i++) { /* all n, so that what comes after a failure is the next batch */
        la_picture p;
        int code = la__loader_take(&p, l);
        if (code >= 0 && err >= 0)
            code = place(&data, &first, &p, i, n);
        if (code < 0 && err >= 0) {
            err = code;
            snprintf(message, sizeof message, "%s", la_error());
        }
        la__picture_free(&p);
    }
    if (err < 0) {
        la_fail(err, "%s", message);
        goto done;
    }
    LA_TRY(la_tensor_from(out, dev, LA_F32, LA_DIMS(n, first.height, first.width, 3), data));
done:
    free(data);
    return err;
}
