/*
 * The C handler of the comparison: the same thirteen bytes that its peers answer with.
 *
 *   GET /thread   answered by a thread of the application's own
 *   any other     answered during the call
 */
#include "cohost.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char HELLO[] = "Hello, World!";

/* A request from `detach` until the thread has answered it. */
struct job {
    struct job *next;
    cohost_token token;
};

struct app {
    const cohost_host *host;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first, **last;
    bool stopping, idle; /* idle: waits to be woken */
    pthread_t thread;
};

static cohost_response response(cohost_header *type, cohost_bytes *body) {
    *type = cohost_field("content-type", "text/plain; charset=utf-8");
    type->name_id = COHOST_HDR_CONTENT_TYPE;
    *body = (cohost_bytes){.ptr = (const uint8_t *)HELLO, .len = sizeof HELLO - 1, .flags = COHOST_BYTES_STATIC};
    return (cohost_response){.size = sizeof(cohost_response), .status = 200, .n_headers = 1, .headers = type,
                             .body_kind = COHOST_BODY_BYTES, .body = body};
}

static void *answer(void *instance) {
    struct app *app = instance;
    pthread_mutex_lock(&app->lock);
    for (;;) {
        /* All that there is at once: one lock for many. */
        struct job *job = app->first;
        if (!job) {
            if (app->stopping) break;
            app->idle = true;
            pthread_cond_wait(&app->changed, &app->lock);
            app->idle = false;
            continue;
        }
        app->first = NULL;
        app->last = &app->first;
        pthread_mutex_unlock(&app->lock);
        while (job) {
            struct job *next = job->next;
            cohost_header type;
            cohost_bytes body;
            cohost_response full = response(&type, &body);
            app->host->token_respond(app->host, job->token, &full);
            free(job);
            job = next;
        }
        pthread_mutex_lock(&app->lock);
    }
    pthread_mutex_unlock(&app->lock);
    return NULL;
}

static cohost_code hand_over(struct app *app, cohost_req *req) {
    struct job *job = calloc(1, sizeof *job);
    if (!job) return COHOST_E_NOMEM;
    job->token = app->host->detach(req, NULL, NULL);
    if (job->token.value == 0) {
        free(job);
        return COHOST_E_UNAVAILABLE;
    }
    pthread_mutex_lock(&app->lock);
    *app->last = job;
    app->last = &job->next;
    bool idle = app->idle;
    app->idle = false; /* it is woken once */
    pthread_mutex_unlock(&app->lock);
    /* Not under the lock, which it would only wait for. */
    if (idle) pthread_cond_signal(&app->changed);
    return COHOST_DETACHED;
}

static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
    (void)waker, (void)task;
    struct app *app = instance;
    if (head->path.len == 7 && memcmp(head->path.ptr, "/thread", 7) == 0) return hand_over(app, req);
    cohost_header type;
    cohost_bytes body;
    cohost_response full = response(&type, &body);
    return app->host->respond(req, &full);
}

static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
    (void)about, (void)err;
    struct app *app = calloc(1, sizeof *app);
    if (!app) return COHOST_E_NOMEM;
    app->host = host;
    app->last = &app->first;
    pthread_mutex_init(&app->lock, NULL);
    pthread_cond_init(&app->changed, NULL);
    if (pthread_create(&app->thread, NULL, answer, app) != 0) {
        free(app);
        return COHOST_E_APP;
    }
    *instance = app;
    return COHOST_DONE;
}

static cohost_code stop(void *instance, uint64_t deadline_ns) {
    (void)deadline_ns; /* what is in the queue takes no time */
    struct app *app = instance;
    pthread_mutex_lock(&app->lock);
    app->stopping = true;
    pthread_cond_signal(&app->changed);
    pthread_mutex_unlock(&app->lock);
    pthread_join(app->thread, NULL);
    free(app);
    return COHOST_DONE;
}

COHOST_NOTE(COHOST_APP_RUNTIME, 0);
const cohost_app cohost_app_v1 = {
    .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
    .flags = COHOST_APP_RUNTIME, .name = "plaintext", .version = "1.0", .sdk = "cohost.h",
    .init = init, .handle = handle, .shutdown = stop,
};
