/* SPDX-License-Identifier: MIT
 *
 * file_server FOLDER LOG: serves the files of a folder by HTTP/1.1 on 127.0.0.1, badly when asked to, for the tests of
 * downloads. Prints its port, then one line a request into LOG: "GET /a.bin 5" (the 5: where a Range began; - without
 * one). It ends when its standard input does.
 *
 *   /plain/a.bin            as it should be: Range, If-Range, ETag, Content-Length
 *   /norange/a.bin          Range is ignored, always 200 and all of it
 *   /cut=1000/a.bin         the connection breaks after 1000 bytes of each answer
 *   /once=1000/a.bin        only the first answer breaks
 *   /claim=5000/a.bin       says that there are 5000 bytes, and sends what there is
 *   /status=404/a.bin       404 and a page; any number; 302 and 301 lead to /plain/a.bin
 *   /busy=2/a.bin           503 twice, then as it should be
 *   /page/a.bin             a web page with status 200
 *   /slow/a.bin             64 bytes every 50 ms
 *   /changed/a.bin          every answer has another ETag, and If-Range is ignored
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8192 };

static const char *folder;
static FILE *log_file;
static int answers; /* so far */

/* The value of a header field of a request, or NULL. */
static char *field(char *request, const char *name)
{
    for (char *line = strchr(request, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            return line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " ");
    }
    return NULL;
}

/* The whole of a file, malloc'ed, or NULL. */
static char *load(const char *name, long *size)
{
    char path[2 * MOST];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = strstr(name, "..") ? NULL : fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    char *data = malloc((size_t)*size + 1);
    if (data && fread(data, 1, (size_t)*size, file) != (size_t)*size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static void send_slowly(int fd, const char *data, long n)
{
    const struct timespec pause = { .tv_nsec = 50000000 };
    for (long at = 0; at < n; at += 64) {
        if (send(fd, data + at, (size_t)(n - at < 64 ? n - at : 64), MSG_NOSIGNAL) < 0)
            return;
        nanosleep(&pause, NULL);
    }
}

static void send_all(int fd, const char *data, long n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, data, (size_t)n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data += sent;
        n -= sent;
    }
}

static void page(int fd, int status, const char *name)
{
    const char *body = "<html>a page</html>";
    dprintf(fd, "HTTP/1.1 %d Status\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n", status, strlen(body));
    if (status == 301 || status == 302)
        dprintf(fd, "Location: /plain/%s\r\n", name);
    dprintf(fd, "Connection: close\r\n\r\n%s", body);
}

/* One file, as `how` and the number after its = say. */
static void serve(int fd, const char *how, long number, const char *name, const char *range, const char *if_range)
{
    long size = 0, from = range ? strtol(range, NULL, 10) : 0;
    char tag[64];
    char *data = load(name, &size);
    if (!data) {
        page(fd, 404, name);
        return;
    }
    snprintf(tag, sizeof tag, "\"tag-%ld-%d\"", size, strcmp(how, "changed") == 0 ? answers : 0);
    if (if_range && strncmp(if_range, tag, strlen(tag)) != 0 && strcmp(how, "changed") != 0)
        range = NULL;
    if (!range || strcmp(how, "norange") == 0) {
        range = NULL;
        from = 0;
    }
    if (range && from >= size) {
        page(fd, 416, name);
        free(data);
        return;
    }
    const long claimed = strcmp(how, "claim") == 0 ? number : size;
    dprintf(fd, "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nETag: %s\r\nContent-Length: %ld\r\n",
            range ? "206 Partial Content" : "200 OK", tag, claimed - from);
    if (range)
        dprintf(fd, "Content-Range: bytes %ld-%ld/%ld\r\n", from, claimed - 1, claimed);
    dprintf(fd, "Connection: close\r\n\r\n");
    long count = size - from;
    if ((strcmp(how, "cut") == 0 || (strcmp(how, "once") == 0 && answers == 1)) && count > number)
        count = number;
    if (claimed - from < count)
        count = claimed - from;
    if (strcmp(how, "slow") == 0)
        send_slowly(fd, data + from, count);
    else
        send_all(fd, data + from, count);
    free(data);
}

static void answer(int fd)
{
    char request[MOST] = "", how[256] = "", name[MOST] = "";
    size_t got = 0;
    while (got + 1 < sizeof request && !strstr(request, "\r\n\r\n")) {
        const ssize_t n = recv(fd, request + got, sizeof request - 1 - got, 0);
        if (n <= 0)
            return;
        got += (size_t)n;
        request[got] = 0;
    }
    if (sscanf(request, "GET /%255[^/ ]/%8000[^ ]", how, name) != 2) {
        page(fd, 400, "");
        return;
    }
    const char *range = field(request, "Range"), *if_range = field(request, "If-Range");
    if (range && strncmp(range, "bytes=", 6) == 0)
        range += 6;
    answers++;
    fprintf(log_file, "GET /%s/%s %.*s\n", how, name, range ? (int)strcspn(range, "-") : 1, range ? range : "-");
    fflush(log_file);
    char *equals = strchr(how, '=');
    const long number = equals ? strtol(equals + 1, NULL, 10) : 0;
    if (equals)
        *equals = 0;
    if (strcmp(how, "status") == 0)
        page(fd, (int)number, name);
    else if (strcmp(how, "page") == 0)
        page(fd, 200, name);
    else if (strcmp(how, "busy") == 0 && answers <= number)
        page(fd, 503, name);
    else
        serve(fd, how, number, name, range, if_range);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof at;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3 || listener < 0 || bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) < 0 || !(log_file = fopen(argv[2], "w"))) {
        fprintf(stderr, "usage: file_server FOLDER LOG\n");
        return 1;
    }
    folder = argv[1];
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    fclose(stdout);
    struct pollfd wait[2] = { { .fd = listener, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    while (poll(wait, 2, -1) >= 0) {
        if (wait[1].revents) /* nothing is ever written there: this is its end */
            return 0;
        const int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            answer(fd);
            close(fd);
        }
    }
    return 1;
}
