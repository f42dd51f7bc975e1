/*
 * An application that answers later, from threads of its own, and streams both ways.
 *
 *   POST /echo    sends the request body back as it arrives, with a trailer that counts its bytes
 *   GET  /count   writes a line at a time, as fast as the client reads
 *
 * Four threads take requests off a queue. A request that is cancelled while it waits there is marked, and the thread
 * that comes to it drops it unanswered. Never: blocks in `handle`, which runs on a thread that serves others too.
 */
#define _GNU_SOURCE /* pthread_clockjoin_np */
#include "cohost.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, LINES = 100000 };

/* A request of ours: from `detach` until its token is consumed. */
struct job {
    struct job *next;
    const cohost_host *host;
    cohost_token token;
    atomic_int cancelled; /* why, or 0 */
};

struct app {
    const cohost_host *host;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first, **last;
    bool stopping;
    int threads;
    pthread_t thread[THREADS];
};

/* ---- requests, on threads of the host's -------------------------------------------------------------------- */

static void on_cancel(void *ud, cohost_code why) {
    struct job *job = ud;
    atomic_store(&job->cancelled, why);
}

static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
    (void)head, (void)waker, (void)task;
    struct app *app = instance;
    struct job *job = calloc(1, sizeof *job);
    if (!job) return COHOST_E_NOMEM;
    job->host = app->host;
    job->token = app->host->detach(req, on_cancel, job);
    if (job->token.value == 0) {
        free(job);
        return COHOST_E_UNAVAILABLE;
    }
    pthread_mutex_lock(&app->lock);
    *app->last = job;
    app->last = &job->next;
    pthread_cond_signal(&app->changed);
    pthread_mutex_unlock(&app->lock);
    /* From here on the job may be answered and freed already. */
    return COHOST_DETACHED;
}

/* ---- answers, on threads of ours --------------------------------------------------------------------------- */

/* Begins an answer whose body is pushed. The token is consumed in every case. */
static cohost_code begin(struct job *job, cohost_sink *sink) {
    cohost_header headers[] = {
        cohost_field("content-type", "text/plain"),
        cohost_field("trailer", "x-bytes"), /* announces what `end` sends */
    };
    sink->value = 0;
    cohost_response response = {
        .size = sizeof response, .status = 200, .n_headers = 2, .headers = headers,
        .body_kind = COHOST_BODY_PUSH, .sink = sink,
    };
    cohost_code rc = job->host->token_respond(job->host, job->token, &response);
    job->token.value = 0;
    return rc;
}

/* Ends a pushed body: well, with a trailer, or visibly cut. */
static void end(struct job *job, cohost_sink sink, cohost_code rc, unsigned long long bytes) {
    if (rc < 0) {
        job->host->sink_abort(job->host, sink);
        return;
    }
    char text[24];
    snprintf(text, sizeof text, "%llu", bytes);
    cohost_header trailer = cohost_field("x-bytes", text);
    job->host->sink_end(job->host, sink, &trailer, 1);
}

static void echo(struct job *job) {
    const cohost_host *host = job->host;
    unsigned long long bytes = 0;
    cohost_sink sink;
    /* Before the answer: it consumes the token. The body lives on. */
    cohost_body body = host->token_take_body(host, job->token);
    cohost_code rc = begin(job, &sink);
    if (rc == COHOST_DONE) {
        char piece[16 * 1024];
        size_t n;
        /* Nothing more is read from the client while it does not read what was written: the second call waits. */
        while (body.value != 0 && (rc = host->body_read_blocking(host, body, piece, sizeof piece, &n)) == COHOST_DONE) {
            rc = host->sink_write_blocking(host, sink, piece, n);
            if (rc < 0) break;
            bytes += n;
        }
        end(job, sink, rc, bytes);
    }
    if (body.value != 0) host->body_drop(host, body);
}

static void count(struct job *job) {
    unsigned long long bytes = 0;
    cohost_sink sink;
    cohost_code rc = begin(job, &sink);
    if (rc != COHOST_DONE) return;
    for (int line = 1; line <= LINES && rc >= 0; line++) {
        char text[32];
        int n = snprintf(text, sizeof text, "%d\n", line);
        rc = job->host->sink_write_blocking(job->host, sink, text, (size_t)n);
        bytes += (unsigned long long)n;
    }
    end(job, sink, rc, bytes);
}

static void not_found(struct job *job) {
    cohost_response response = { .size = sizeof response, .status = 404, .body_kind = COHOST_BODY_EMPTY };
    job->host->token_respond(job->host, job->token, &response);
}

static bool is(cohost_str text, const char *word) {
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

static void answer(struct job *job) {
    if (atomic_load(&job->cancelled) != 0) {
        job->host->token_drop(job->host, job->token, COHOST_E_APP); /* nobody listens, but it must be consumed */
        return;
    }
    const cohost_head *head = job->host->token_head(job->host, job->token);
    if (is(head->path, "/echo") && head->method_id == COHOST_METHOD_POST) {
        echo(job);
    } else if (is(head->path, "/count") && head->method_id == COHOST_METHOD_GET) {
        count(job);
    } else {
        not_found(job);
    }
}

static struct job *next_job(struct app *app) {
    pthread_mutex_lock(&app->lock);
    while (!app->first && !app->stopping) pthread_cond_wait(&app->changed, &app->lock);
    struct job *job = app->first;
    if (job) {
        app->first = job->next;
        if (!app->first) app->last = &app->first;
    }
    pthread_mutex_unlock(&app->lock);
    return job;
}

static void *serve(void *arg) {
    struct job *job;
    while ((job = next_job(arg)) != NULL) {
        answer(job);
        /* The token is consumed: `on_cancel` has returned, or will never be called. */
        free(job);
    }
    return NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------------------- */

static cohost_code stop(void *instance, uint64_t deadline_ns) {
    struct app *app = instance;
    struct timespec deadline = { (time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u) };
    pthread_mutex_lock(&app->lock);
    app->stopping = true;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
    for (; app->threads > 0; app->threads--) {
        /* A thread that is late still uses `app`: leave it, and tell the host. */
        if (pthread_clockjoin_np(app->thread[app->threads - 1], NULL, CLOCK_MONOTONIC, &deadline) != 0) {
            return COHOST_E_BUSY;
        }
    }
    pthread_cond_destroy(&app->changed);
    pthread_mutex_destroy(&app->lock);
    free(app);
    return COHOST_DONE;
}

static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
    (void)about;
    struct app *app = calloc(1, sizeof *app);
    if (!app) return COHOST_E_NOMEM;
    app->host = host;
    app->last = &app->first;
    pthread_mutex_init(&app->lock, NULL);
    pthread_cond_init(&app->changed, NULL);
    for (; app->threads < THREADS; app->threads++) {
        if (pthread_create(&app->thread[app->threads], NULL, serve, app) != 0) {
            int n = snprintf(err->buf, err->cap, "cannot start thread %d of %d", app->threads + 1, THREADS);
            err->len = n < 0 ? 0 : (size_t)n < err->cap ? (size_t)n : err->cap;
            stop(app, UINT64_MAX / 2); /* idle threads end at once */
            return COHOST_E_APP;
        }
    }
    *instance = app;
    return COHOST_DONE;
}

COHOST_NOTE(COHOST_APP_RUNTIME, COHOST_FEATURE_TRAILERS);
const cohost_app cohost_app_v1 = {
    .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
    .flags = COHOST_APP_RUNTIME, .requires_features = COHOST_FEATURE_TRAILERS,
    .name = "stream", .version = "1.0", .sdk = "cohost.h",
    .init = init, .handle = handle, .shutdown = stop,
};
