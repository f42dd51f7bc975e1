/* An application that blocks, and says so: each request to /block keeps its thread until one to /release comes. */
#include "cohost.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static int blocked;
static unsigned releases;

static void block(void) {
    pthread_mutex_lock(&lock);
    unsigned seen = releases;
    blocked++;
    while (seen == releases) pthread_cond_wait(&released, &lock);
    blocked--;
    pthread_mutex_unlock(&lock);
}

static int count(void) {
    pthread_mutex_lock(&lock);
    int now = blocked;
    pthread_mutex_unlock(&lock);
    return now;
}

static void release(void) {
    pthread_mutex_lock(&lock);
    releases++;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

/* Reads the whole body by waiting for it. */
static size_t read_all(const cohost_host *host, cohost_body body) {
    char piece[4096];
    size_t all = 0, n = 0;
    while (host->body_read_blocking(host, body, piece, sizeof piece, &n) == COHOST_DONE) all += n;
    host->body_drop(host, body);
    return all;
}

static int asked(const cohost_head *head, const char *path) {
    return head->path.len == strlen(path) && !memcmp(head->path.ptr, path, head->path.len);
}

static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
    (void)about, (void)err;
    *instance = (void *)host;
    return COHOST_DONE;
}

static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
    (void)waker, (void)task;
    const cohost_host *host = instance;
    char text[64];
    size_t read = 0;
    if (asked(head, "/block")) block();
    if (asked(head, "/release")) release();
    if (asked(head, "/read")) read = read_all(host, host->take_body(req));
    int n = snprintf(text, sizeof text, "blocked %d, read %zu\n", count(), read);
    return cohost_reply(host, req, 200, "text/plain", text, (size_t)n);
}

COHOST_NOTE(COHOST_APP_BLOCKING, 0);
const cohost_app cohost_app_v1 = {
    .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
    .flags = COHOST_APP_BLOCKING, .name = "blocking", .init = init, .handle = handle,
};
