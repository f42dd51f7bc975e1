/* The smallest application: answers during the call, on the thread that asked. */
#include "cohost.h"

#include <stdio.h>

static cohost_code init(const cohost_host *host, const cohost_init *about, cohost_err *err, void **instance) {
    (void)about, (void)err;
    *instance = (void *)host; /* the one thing that handle needs */
    return COHOST_DONE;
}

static cohost_code handle(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task) {
    (void)waker, (void)task;
    char text[256];
    int n = snprintf(text, sizeof text, "hello from C: %.*s\n", (int)(head->path.len < 200 ? head->path.len : 200),
                     (const char *)head->path.ptr);
    return cohost_reply(instance, req, 200, "text/plain; charset=utf-8", text, (size_t)n);
}

COHOST_NOTE(0, 0);
const cohost_app cohost_app_v1 = {
    .magic = COHOST_MAGIC, .size = sizeof(cohost_app), .major = COHOST_ABI_MAJOR, .minor = COHOST_ABI_MINOR,
    .name = "hello", .version = "1.0", .sdk = "cohost.h", .init = init, .handle = handle,
};
