/* SPDX-License-Identifier: MIT
 *
 * builder.c -- the side of builder.h that asks: helper processes, the jobs that they have, and how far they are.
 */
#include "device/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    MOST_HELPERS = 4,
    MOST_LOST = 3, /* helpers that may leave without doing a job */
    TICK = 200     /* ms between two calls of the listener while waiting */
};

typedef struct helper {
    pid_t pid;   /* 0: none */
    bool greets; /* it has come up */
    int fd;
    FILE *log; /* its standard error */
    la_job *job;
    double began;
} helper;

typedef struct la_builder {
    helper helpers[MOST_HELPERS];
    int most;
    bool broken; /* helpers cannot be started */
    la_job *jobs;
} la_builder;

/* ---- processes ---- */

bool la__builder_possible(const la_device *dev)
{
    const char *path = getenv("LUALIGN_BUILDER");
    return path && *path && !(dev->builder && dev->builder->broken);
}

static la_builder *builder_of(la_device *dev)
{
    if (!dev->builder && (dev->builder = la__calloc(1, sizeof *dev->builder)) != NULL) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);
        dev->builder->most = cores < 1 ? 1 : cores > MOST_HELPERS ? MOST_HELPERS : (int)cores;
    }
    return dev->builder;
}

/* Out of the way of 0 to 3, and closed in programs started later. */
static int move_up(int fd)
{
    const int up = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    close(fd);
    return up;
}

/* In a process group of its own, so that Ctrl-C at the terminal is ours alone. */
static int spawn(pid_t *pid, const char *path, int fd, int log)
{
    char *argv[] = { (char *)path, (char *)"--serve-builds", NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, log, 2);
    posix_spawn_file_actions_adddup2(&files, fd, LA_BUILDER_FD);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    const int code = posix_spawn(pid, path, &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return code;
}

static bool helper_start(helper *h)
{
    int ends[2], log = -1;
    if (!h->log && !(h->log = tmpfile()))
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return false;
    ends[0] = move_up(ends[0]);
    ends[1] = move_up(ends[1]);
    log = move_up(dup(fileno(h->log)));
#ifdef SO_NOSIGPIPE
    const int on = 1;
    setsockopt(ends[0], SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    const bool good = ends[0] >= 0 && ends[1] >= 0 && log >= 0 &&
                      spawn(&h->pid, getenv("LUALIGN_BUILDER"), ends[1], log) == 0;
    close(log);
    close(ends[1]);
    h->greets = false;
    if (good) {
        h->fd = ends[0];
    } else {
        close(ends[0]);
        h->pid = 0;
    }
    return good;
}

/* Its exit status as waitpid has it, once it has gone by itself or was made to. */
static int helper_end(helper *h, bool kill_it)
{
    int status = 0;
    if (h->pid == 0)
        return 0;
    if (kill_it)
        kill(h->pid, SIGKILL);
    close(h->fd);
    while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    h->pid = 0;
    return status;
}

/* The first line that the helper wrote in which something is called an error, else the last one. */
static void last_words(char *out, size_t size, FILE *log)
{
    char line[200];
    *out = '\0';
    rewind(log);
    while (fgets(line, sizeof line, log)) {
        line[strcspn(line, "\n")] = '\0';
        if (*line)
            snprintf(out, size, ": %s", line);
        if (strstr(line, "ERROR") || strstr(line, "error:"))
            break;
    }
}

/* ---- jobs ---- */

static void job_unable(la_device *dev, la_job *job)
{
    dev->build.total--;
    job->unable = true;
    job->state = LA_JOB_DONE;
}

static void job_finish(la_device *dev, la_job *job, double seconds)
{
    if (job->unable) {
        job_unable(dev, job);
        return;
    }
    job->state = LA_JOB_DONE;
    la__build_counted(dev, job->program, job->options, seconds, job->code < 0 ? job->message : NULL);
}

/* The helper has gone without an answer. One that had nothing to do for long ends with status 0: then it never saw the
 * job. */
static void helper_lost(la_device *dev, helper *h)
{
    la_job *job = h->job;
    char words[256], text[1024];
    const int status = helper_end(h, false);
    h->job = NULL;
    if (!h->greets) { /* not the job's fault: LUALIGN_BUILDER is no such program, or cannot run here */
        dev->builder->broken = true;
        job_unable(dev, job);
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (++job->lost < MOST_LOST)
            job->state = LA_JOB_WAITING;
        else
            job_unable(dev, job);
        return;
    }
    last_words(words, sizeof words, h->log);
    snprintf(text, sizeof text,
             "device: building program '%s', wanted for kernel '%s'%s%s, crashed the compiler (%s %d)%s", job->program,
             job->entry, *job->options ? ", options " : "", job->options, WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), words);
    job->crashed = true;
    job->code = LA_EDEVICE;
    job->message = strdup(text);
    job_finish(dev, job, la__now() - h->began);
}

static void helper_answers(la_device *dev, helper *h)
{
    la_blob part[LA_WIRE_PARTS];
    la_reply reply;
    la_job *job = h->job;
    const int n = la__wire_receive(h->fd, &job->reply, part);
    if (n == 1 && !h->greets) {
        h->greets = true;
        free(job->reply);
        job->reply = NULL;
        return;
    }
    if (n != LA_REPLY_PARTS || part[0].bytes != sizeof reply) {
        helper_lost(dev, h);
        return;
    }
    memcpy(&reply, part[0].data, sizeof reply);
    job->code = reply.code;
    job->unable = reply.unable;
    job->message = strdup(part[1].data);
    job->output = part[2];
    h->job = NULL;
    job_finish(dev, job, reply.seconds);
}

/* Gives the job to a helper that has none. */
static void hand_out(la_device *dev, helper *h, la_job *job)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (h->pid == 0 && !helper_start(h)) {
            dev->builder->broken = true;
            break;
        }
        if (ftruncate(fileno(h->log), 0) == 0)
            rewind(h->log);
        if (la__wire_send(h->fd, job->part, job->parts) == 0) {
            job->state = LA_JOB_RUNNING;
            h->job = job;
            h->began = la__now();
            return;
        }
        helper_end(h, true); /* it had gone while it had nothing to do */
    }
    job_unable(dev, job);
}

static helper *idle_helper(la_builder *b)
{
    helper *none = NULL;
    for (int i = 0; i < b->most; i++) {
        helper *h = &b->helpers[i];
        if (!h->job && h->pid)
            return h;
        if (!h->job && !none)
            none = h;
    }
    return none;
}

/* One round: hands out, waits up to `ms` for an answer, takes it in. */
static void pump(la_device *dev, int ms)
{
    la_builder *b = dev->builder;
    struct pollfd polled[MOST_HELPERS];
    helper *of[MOST_HELPERS];
    nfds_t n = 0;
    for (la_job *job = b->jobs; job; job = job->next) {
        helper *h = job->state == LA_JOB_WAITING ? idle_helper(b) : NULL;
        if (h)
            hand_out(dev, h, job);
    }
    for (int i = 0; i < b->most; i++)
        if (b->helpers[i].job) {
            of[n] = &b->helpers[i];
            polled[n++] = (struct pollfd){ .fd = b->helpers[i].fd, .events = POLLIN };
        }
    if (n > 0 && poll(polled, n, ms) > 0)
        for (nfds_t i = 0; i < n; i++)
            if (polled[i].revents)
                helper_answers(dev, of[i]);
}

bool la__job_done(la_device *dev, la_job *job, bool wait)
{
    if (job->state != LA_JOB_DONE)
        pump(dev, 0);
    while (wait && job->state != LA_JOB_DONE) {
        pump(dev, TICK);
        la__build_waiting(dev);
    }
    return job->state == LA_JOB_DONE;
}

void la__job_free(la_device *dev, la_job *job)
{
    la_job **at = dev->builder ? &dev->builder->jobs : NULL;
    while (at && *at && *at != job)
        at = &(*at)->next;
    if (at && *at)
        *at = job->next;
    free(job->block);
    free(job->reply);
    free(job->message);
    free(job->program);
    free(job->options);
    free(job->entry);
    free(job);
}

/* A job with copies of its parts, at the end of the queue. */
static la_job *submit(la_device *dev, const la_blob *part, int parts)
{
    size_t total = 0;
    la_builder *b = la__builder_possible(dev) ? builder_of(dev) : NULL;
    la_job *job = b ? la__calloc(1, sizeof *job) : NULL;
    if (!job)
        return NULL;
    for (int i = 0; i < parts; i++)
        total += part[i].bytes;
    char *at = job->block = la__calloc(total, 1);
    job->program = strdup(part[1].data);
    job->options = strdup(part[2].data);
    job->entry = strdup(part[3].data);
    if (!at || !job->program || !job->options || !job->entry) {
        la__job_free(dev, job);
        return NULL;
    }
    for (int i = 0; i < parts; i++) {
        if (part[i].bytes)
            memcpy(at, part[i].data, part[i].bytes);
        job->part[i] = (la_blob){ at, part[i].bytes };
        at += part[i].bytes;
    }
    job->parts = parts;
    la_job **last = &b->jobs;
    while (*last)
        last = &(*last)->next;
    *last = job;
    la__build_begun(dev);
    pump(dev, 0);
    return job;
}

static la_blob text_part(const char *text)
{
    return (la_blob){ text, strlen(text) + 1 };
}

la_job *la__job_build(la_device *dev, const la_program *p, const char *entry)
{
    const la_request request = { .kind = LA_REQUEST_BUILD, .device = dev->index };
    return submit(dev,
                  (la_blob[]){ { &request, sizeof request },
                               text_part(p->name),
                               text_part(p->options),
                               text_part(entry),
                               text_part(p->text) },
                  LA_REQUEST_HEAD);
}

la_job *la__job_launch(la_device *dev, const la_launch *what, const char *text, const la_probe_arg *args, int nargs)
{
    la_request request = { .kind = LA_REQUEST_LAUNCH, .device = dev->index, .nargs = nargs };
    la_blob part[LA_REQUEST_HEAD + LA_PROBE_ARGS];
    memcpy(request.global, what->global, sizeof request.global);
    memcpy(request.local, what->local, sizeof request.local);
    for (int i = 0; i < nargs; i++) {
        request.buffer[i] = args[i].buffer;
        part[LA_REQUEST_HEAD + i] = (la_blob){ args[i].data, args[i].bytes };
    }
    part[0] = (la_blob){ &request, sizeof request };
    part[1] = text_part(what->program);
    part[2] = text_part(what->options ? what->options : "");
    part[3] = text_part(what->entry);
    part[4] = text_part(text);
    return submit(dev, part, LA_REQUEST_HEAD + nargs);
}

void la__builder_close(la_device *dev)
{
    la_builder *b = dev->builder;
    if (!b)
        return;
    for (int i = 0; i < MOST_HELPERS; i++) {
        helper_end(&b->helpers[i], b->helpers[i].job != NULL);
        if (b->helpers[i].log)
            fclose(b->helpers[i].log);
    }
    while (b->jobs)
        la__job_free(dev, b->jobs);
    free(b);
    dev->builder = NULL;
}
