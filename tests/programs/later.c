/* An application that crashes in what the host calls later: the release of bytes, a waker, a callback. */
#include "cohost.h"

#include <string.h>

static const cohost_host *host;
static uint8_t page[1000];

static void crash(void) {
    *(volatile int *)8 = 1;
}

static void released(cohost_bytes *self) {
    (void)self;
    crash();
}

static void called(void *ud, cohost_code rc, cohost_frame *frame) {
    (void)ud, (void)rc, (void)frame;
    crash();
}

static const cohost_waker_table waker_table;
static void cloned(const cohost_waker *self, cohost_waker *out) {
    *out = *self;
}
static void woken(cohost_waker *self) {
    (void)self;
    crash();
}
static void woken_by_ref(const cohost_waker *self) {
    (void)self;
    crash();
}
static void dropped(cohost_waker *self) {
    (void)self;
}
static const cohost_waker_table waker_table = {
    .size = sizeof(cohost_waker_table), .clone = cloned, .wake = woken, .wake_by_ref = woken_by_ref, .drop = dropped,
};

static int is(const cohost_head *head, const char *path) {
    return head->path.len == strlen(path) && memcmp(head->path.ptr, path, head->path.len) == 0;
}

static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
    (void)instance, (void)waker, (void)task;
    if (is(head, "/release")) {
        cohost_bytes body = {.ptr = page, .len = sizeof page, .release = released};
        cohost_response response = {
            .size = sizeof response, .status = 200, .body_kind = COHOST_BODY_BYTES, .body = &body,
        };
        return host->respond(req, &response);
    }
    if (is(head, "/waker")) {
        cohost_waker own = {.table = &waker_table};
        cohost_frame frame = {.size = sizeof frame};
        cohost_body body = host->take_body(req);
        host->detach(req, NULL, NULL);
        return host->body_poll(host, body, &own, &frame) == COHOST_PENDING ? COHOST_DETACHED : COHOST_E_STATE;
    }
    if (is(head, "/callback")) {
        cohost_body body = host->take_body(req);
        host->detach(req, NULL, NULL);
        return host->body_read(host, body, called, NULL) == COHOST_DONE ? COHOST_DETACHED : COHOST_E_STATE;
    }
    return cohost_reply(host, req, 200, "text/plain", "ok\n", 3);
}

static cohost_code init(const cohost_host *given, const cohost_init *about, cohost_err *err, void **instance) {
    (void)about, (void)err;
    host = given;
    *instance = page;
    return COHOST_DONE;
}

COHOST_NOTE(0, 0);
const cohost_app cohost_app_v1 = {
    .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
    .name = "later", .version = "1.0", .sdk = "cohost.h", .init = init, .handle = handle,
};
