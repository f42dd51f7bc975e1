/**
 * cohost.h: the contract between cohost, a host for web applications, and an application library.
 *
 * In: one exported descriptor, `cohost_app_v1`. Out: requests, and a table of functions to answer them with.
 * Needs nothing but <stddef.h> and <stdint.h>. For LP64 Linux; C11 and C++17, and whatever can call C.
 *
 * TRUST
 *  An application in this process has the host's full trust: it can read and overwrite everything here, and its
 *  crash is the process's crash. The contract protects against mistakes, not against malice; code that is not
 *  trusted belongs into a process of its own (`hosting_model = "outofprocess"`).
 *   1. Memory is freed by the side that allocated it, through the release or drop function that travels with it.
 *      malloc, free, new and delete never act on the other side's pointers.
 *   2. Nothing unwinds or jumps (exceptions, panics, longjmp) across the boundary, in either direction. C++ functions
 *      given to the host are noexcept. What gets out all the same ends the process.
 *   3. An application changes nothing that belongs to the process: signal dispositions, environment, working
 *      directory, umask, locale, resource limits, descriptors 0 to 2. It registers no atexit handler, does not fork
 *      without exec, and does not exit.
 *   4. A library is never unloaded while the process lives; several generations of it may be loaded side by side.
 *      Its constants and code can be pointed to for ever. Its threads end in `shutdown`.
 *
 * RULES
 *  Ownership  A pointer argument is valid until the call returns, unless its comment says otherwise. "Moved" means:
 *             copied with memcpy, and from then on the receiver's. Text is (ptr, len), not NUL-terminated; null with
 *             length 0 is the empty text. Bytes are not text: only what is called UTF-8 is.
 *  Handles    Token, body, sink and io are values, not addresses: 0 is "none". A handle that was consumed, or never
 *             given out, is answered with COHOST_E_STATE, at any time; it never touches another request.
 *  Threads    "Serving": a thread of the host's that serves connections. Who blocks it, blocks other clients.
 *             "Control": a thread of the host's made for one call that may block. "Any": any thread, also several at
 *             a time unless limited. "In the call": inside `handle` or `poll` of that request, on that thread.
 *             The host holds no lock while it calls the application, so a callback may call the host.
 *  Sizes      A struct with `size` as first field grows at its end. Its maker sets size to sizeof (in a cohost_frame:
 *             its reader does, before the call). A field may be read or written only if COHOST_HAS. Other structs are
 *             frozen: they never change within a major version. Reserved fields are 0. Numbers, bits and ids not
 *             listed here are ignored by the reader.
 *  Codes      Zero and above: it went well. Below: it did not, and nothing was changed unless the comment says
 *             otherwise. Once a request is cancelled, calls on its token and its sink return the reason, one of
 *             COHOST_E_GONE, COHOST_E_TIMEOUT and COHOST_E_DRAINING, and still consume what they say they consume;
 *             its body gives what had arrived, and then such a code.
 */
#ifndef COHOST_H
#define COHOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Makes `cohost_app_v1` visible in a library that is built with -fvisibility=hidden. */
#if defined(__GNUC__)
#define COHOST_PUBLIC __attribute__((visibility("default")))
#else
#define COHOST_PUBLIC
#endif

/** A host and a library of different majors never meet: the symbol's name carries the major. */
#define COHOST_ABI_MAJOR 1
/** Grows when a field, a function or a constant is added at an end. */
#define COHOST_ABI_MINOR 0
#define COHOST_ENTRY_SYMBOL "cohost_app_v1"
/** First word of a cohost_app. */
#define COHOST_MAGIC UINT64_C(0x0a0d317070414841)
/** A length that is not known. */
#define COHOST_NO_LENGTH UINT64_MAX
/** Whether `field` exists in `*p`, a size-prefixed struct of `type`, whoever made it. */
#define COHOST_HAS(p, type, field) ((p)->size >= offsetof(type, field) + sizeof((p)->field))

/* ---- codes ------------------------------------------------------------------------------------------------- */

/** What most functions return. */
typedef int32_t cohost_code;
enum {
    COHOST_DONE = 0,            /**< Done; for a poll, there is a result. */
    COHOST_PENDING = 1,         /**< Not yet: the waker given will be woken. */
    COHOST_DETACHED = 2,        /**< `handle` took a token; the answer comes through it. */
    COHOST_EOF = 3,             /**< The end: no further frame, no further byte. */
    COHOST_AGAIN = 4,           /**< Taken, but the queue is full now: wait before writing more. */
    COHOST_E_INVALID = -1,      /**< An argument is malformed: null, a wrong status, a name that is no token. */
    COHOST_E_PANIC = -2,        /**< The application panicked or threw, and caught it. */
    COHOST_E_GONE = -3,         /**< The client went away. Never means anything else. */
    COHOST_E_STATE = -4,        /**< Not in this phase, not on this thread, or not (any more) a handle. */
    COHOST_E_UNSUPPORTED = -5,  /**< The host, or this request's protocol, cannot do that. */
    COHOST_E_TOO_LARGE = -6,    /**< A limit of the host's configuration was crossed. */
    COHOST_E_IO = -7,           /**< Reading or writing failed. */
    COHOST_E_NOMEM = -8,        /**< No memory, or no handle left. */
    COHOST_E_BUSY = -9,         /**< Another thread is using this handle right now. */
    COHOST_E_TIMEOUT = -10,     /**< The request's deadline passed. */
    COHOST_E_APP = -11,         /**< The application failed: answered with 500. */
    COHOST_E_UNAVAILABLE = -12, /**< The application cannot serve this now: answered with 503. */
    COHOST_E_ABI = -13,         /**< The other side's version or sizes do not fit. */
    COHOST_E_DRAINING = -14     /**< The generation is being drained, and its time is over. */
};

/* ---- values ------------------------------------------------------------------------------------------------ */

/** Borrowed bytes. Frozen. Since 1.0. */
typedef struct cohost_str {
    const uint8_t *ptr; /**< May be null when `len` is 0; also means "absent" where a comment says so. */
    size_t len;
} cohost_str;

/** One header field. Frozen, used in arrays. Since 1.0. */
typedef struct cohost_header {
    const uint8_t *name; /**< In lower case; always set, also when `name_id` is. */
    const uint8_t *value;
    uint32_t name_len;
    uint32_t value_len;
    uint16_t name_id; /**< COHOST_HDR_*, or 0. Counts more than the name; above the reader's table, it counts as 0. */
    uint16_t flags;   /**< COHOST_HEADER_*. */
    uint32_t reserved;
} cohost_header;
enum {
    COHOST_HEADER_SENSITIVE = 1 /**< A secret: never indexed by HPACK or QPACK, never logged. */
};

/** Bytes that may have an owner, moved with memcpy. Frozen.
 * With `release` the receiver calls it once, on any thread, with the address where the struct then is; the bytes are
 * readable until then. Without it they are borrowed: the receiver copies them before it returns, or keeps pointing to
 * them with COHOST_BYTES_STATIC. What the host gives always has a release unless it is empty; an application that
 * forgets to call it leaks the buffer. Since 1.0. */
typedef struct cohost_bytes {
    const uint8_t *ptr;
    size_t len;
    uintptr_t owner[4];                         /**< The producer's: must mean the same at another address. */
    void (*release)(struct cohost_bytes *self); /**< Must not block or fail. Or null. */
    uint64_t flags;                             /**< COHOST_BYTES_*. */
} cohost_bytes;
enum {
    COHOST_BYTES_STATIC = 1 /**< Readable for ever: constants of the library. Needs no release, is not copied. */
};

/** How to continue somebody who waits; moved with memcpy. Frozen. A waker passed to a function is borrowed for the
 * call: to keep it, clone it. Either side may make wakers; each is used through its own table. Since 1.0. */
typedef struct cohost_waker {
    const void *data;
    const void *meta;
    const struct cohost_waker_table *table;
} cohost_waker;

/** Functions of a waker, all callable from any thread, also after the request has ended: then nothing happens. They
 * must not block, and not poll in place. Using an owned waker after wake or drop is undefined. Since 1.0. */
typedef struct cohost_waker_table {
    size_t size;
    void (*clone)(const cohost_waker *self, cohost_waker *out); /**< Makes an owned waker in `*out`. */
    void (*wake)(cohost_waker *self);                           /**< Wakes, and ends an owned waker. */
    void (*wake_by_ref)(const cohost_waker *self);              /**< Wakes. */
    void (*drop)(cohost_waker *self);                           /**< Ends an owned waker. */
} cohost_waker_table;

/** The host's functions, below. */
typedef struct cohost_host cohost_host;
/** A request while `handle` or `poll` runs: the one pointer to an object of the host's. Valid in the call only; using
 * it later, or on another thread, is undefined. Since 1.0. */
typedef struct cohost_req cohost_req;
/** A request that the application answers later. OWNER: application, until token_respond or token_drop. Since 1.0. */
typedef struct cohost_token { uintptr_t value; } cohost_token;
/** A request body. OWNER: application, until body_drop; may outlive the answer. Since 1.0. */
typedef struct cohost_body { uintptr_t value; } cohost_body;
/** A response body being written. OWNER: application, until sink_end or sink_abort. Since 1.0. */
typedef struct cohost_sink { uintptr_t value; } cohost_sink;
/** The byte stream of an upgraded connection. OWNER: application, until io_drop. Since 1.0. */
typedef struct cohost_io { uintptr_t value; } cohost_io;

/* ---- requests ---------------------------------------------------------------------------------------------- */

/** The address of one end of a connection. Frozen. Since 1.0. */
typedef struct cohost_addr {
    uint8_t family; /**< COHOST_FAMILY_*. */
    uint8_t pad;
    uint16_t port;     /**< In the machine's byte order. */
    uint32_t scope_id; /**< Zone of a link-local IPv6 address. */
    uint8_t ip[16];    /**< In network byte order; IPv4 in the first four. */
} cohost_addr;
enum {
    COHOST_FAMILY_NONE = 0, /**< Not known. */
    COHOST_FAMILY_UNIX = 1, /**< A Unix socket: no address. */
    COHOST_FAMILY_IPV4 = 4,
    COHOST_FAMILY_IPV6 = 6
};

/** What TLS agreed on. Valid as long as the head. Since 1.0. */
typedef struct cohost_tls {
    size_t size;
    uint16_t version; /**< As on the wire: 0x0303 for TLS 1.2, 0x0304 for 1.3. */
    uint16_t cipher;  /**< As on the wire. */
    uint32_t flags;
    cohost_str sni;                 /**< Server name the client asked for; empty without SNI. */
    cohost_str alpn;                /**< Empty without ALPN. */
    const cohost_str *client_chain; /**< The client's certificates in DER, its own first; or null. */
    size_t client_chain_len;
} cohost_tls;

/** The connection of a request. Valid as long as the head: copy what has to outlive it. Since 1.0. */
typedef struct cohost_conn {
    size_t size;
    uint64_t id;           /**< Unique in this process. */
    cohost_addr peer;      /**< The client: behind a trusted proxy, the one that the proxy names. */
    cohost_addr local;     /**< The host's end. */
    const cohost_tls *tls; /**< Null on clear text. */
    cohost_str binding;    /**< As configured. */
} cohost_conn;

/** The head of a request. OWNER: host. Valid, with all it points to, until `handle` returns; when detached, in the
 * copy that token_head gives, until the token is consumed. Since 1.0. */
typedef struct cohost_head {
    size_t size;
    uint16_t http_version; /**< 10, 11, 20 or 30. */
    uint16_t method_id;    /**< COHOST_METHOD_*. */
    uint32_t flags;        /**< COHOST_HEAD_*. */
    uint32_t n_headers;
    uint32_t reserved;
    cohost_str method;
    cohost_str scheme;            /**< `http` or `https`, as the client sees it. */
    cohost_str authority;         /**< Host name (and port) the client asked for; empty only in HTTP/1.0. */
    cohost_str target;            /**< The request target exactly as received. */
    cohost_str path_base;         /**< The application's prefix, empty at the root; taken off the paths below. */
    cohost_str path_query;        /**< Dot segments and needless escapes (`%61`) undone, otherwise as sent. */
    cohost_str path;              /**< The path of that, percent-encoded. */
    cohost_str path_decoded;      /**< Percent-encoding undone, except %2F. */
    cohost_str query;             /**< Without the `?`; a null ptr means there was no `?`. */
    cohost_str protocol;          /**< `:protocol` of an extended CONNECT (RFC 8441), or empty. */
    const cohost_header *headers; /**< In order of arrival, without those about the connection (but for an upgrade). */
    uint64_t content_length;      /**< Or COHOST_NO_LENGTH. */
    uint64_t deadline_ns;         /**< When the host answers 504 itself: CLOCK_MONOTONIC; 0 for never. */
    uint64_t request_id;          /**< Unique in this process; for the log functions. */
    uint8_t trace_id[16];         /**< W3C trace context, with COHOST_HEAD_TRACE. */
    uint8_t parent_span_id[8];
    uint8_t trace_flags;
    uint8_t pad[7];
    const cohost_conn *conn; /**< Never null. */
    cohost_str body;         /**< The whole body, with COHOST_HEAD_BODY_BUFFERED. */
} cohost_head;
enum {
    COHOST_HEAD_HAS_BODY = 1,        /**< There is a body to take (it may turn out empty). */
    COHOST_HEAD_UPGRADE = 2,         /**< The client offers an upgrade, and this connection can do it. */
    COHOST_HEAD_BODY_BUFFERED = 4,   /**< `body` holds the whole body; there is none to take. */
    COHOST_HEAD_TRACE = 8,           /**< The trace fields are set. */
    COHOST_HEAD_EXPECT_CONTINUE = 16 /**< The client waits; the host sends 100 when the body is first read. */
};
enum {
    COHOST_METHOD_OTHER = 0, COHOST_METHOD_GET = 1, COHOST_METHOD_HEAD = 2, COHOST_METHOD_POST = 3,
    COHOST_METHOD_PUT = 4, COHOST_METHOD_DELETE = 5, COHOST_METHOD_CONNECT = 6, COHOST_METHOD_OPTIONS = 7,
    COHOST_METHOD_TRACE = 8, COHOST_METHOD_PATCH = 9
};

/* ---- answers ----------------------------------------------------------------------------------------------- */

/** One piece of a body, request's or response's. `size` is set before the call, by whoever asks. Since 1.0. */
typedef struct cohost_frame {
    size_t size;
    uint32_t kind;                /**< COHOST_FRAME_*. */
    uint32_t n_headers;           /**< Number of trailer fields. */
    cohost_bytes data;            /**< Moved to the receiver. */
    const cohost_header *headers; /**< Trailers: valid until the next poll, or the drop, of what was polled. */
} cohost_frame;
enum {
    COHOST_FRAME_DATA = 0,    /**< `data` is set. */
    COHOST_FRAME_TRAILERS = 1 /**< `headers` is set; nothing follows. */
};

/** A response body that the host pulls when the client has room. Its functions are called on serving threads, not
 * always the same one, never two at a time; they must not block. Since 1.0. */
typedef struct cohost_stream {
    size_t size;
    void *state;             /**< OWNER: application. */
    uint64_t content_length; /**< Of the whole, or COHOST_NO_LENGTH. Other sums cut the response visibly. */
    /** The next frame. Not called after EOF, trailers or an error.
     * @param waker  to be woken after PENDING; who forgets it stalls the response until its deadline.
     * @return DONE and `*out` filled; PENDING; EOF; or below 0, which cuts the response visibly. */
    cohost_code (*poll_frame)(void *state, const cohost_waker *waker, cohost_frame *out);
    /** Ends the stream: called once, read to the end or not, answered or not. */
    void (*drop)(void *state);
} cohost_stream;

/** A piece of an open file as a body. With status 200, to a GET or HEAD, the host sends what the client asks for of it: parts
 * (unless Accept-Ranges is "none"), or that it has it, by the ETag and Last-Modified of the head, or the file's own if the
 * head has neither. Since 1.0. */
typedef struct cohost_file {
    size_t size;
    int32_t fd;      /**< A regular file open for reading; its position is neither used nor changed. */
    uint32_t flags;  /**< COHOST_FILE_*. */
    uint64_t offset; /**< First byte. */
    uint64_t length; /**< A file that turns out shorter cuts the response visibly. */
} cohost_file;
enum {
    COHOST_FILE_CLOSE = 1 /**< The host closes fd, whatever comes of it. Without: it duplicates fd at once. */
};

/** What to do once the protocol was changed: exactly one of the two is called, once, on a serving thread; neither may
 * block. Since 1.0. */
typedef struct cohost_upgrade {
    size_t size;
    void *state; /**< OWNER: application. */
    /** The 101 (or the 2xx to a CONNECT) is on the wire; `io` is the application's from here on. */
    void (*on_io)(void *state, cohost_io io);
    /** The upgrade will never be. */
    void (*drop)(void *state);
} cohost_upgrade;

/** An answer. What its pointers own moves to the host in every case, also when the call returns an error; the structs
 * themselves can be on the stack. Since 1.0. */
typedef struct cohost_response {
    size_t size;
    uint16_t status; /**< 200 to 999, or 101 together with `upgrade`. */
    uint16_t flags;
    uint32_t n_headers;
    /** Copied before the call returns. A Content-Length that does not fit to the body is refused; without one, the
     * host adds what it knows. Fields about the connection are the host's, and left out unless `upgrade` is set. */
    const cohost_header *headers;
    uint32_t body_kind;           /**< COHOST_BODY_*. */
    uint32_t reserved;
    cohost_bytes *body;      /**< For BYTES. */
    cohost_stream *stream;   /**< For STREAM. */
    cohost_sink *sink;       /**< For PUSH: the host writes the sink here. Set it to 0 before: it stays so when the
                              * call fails, and for a status without body (204, 304). */
    const cohost_file *file; /**< For FILE. */
    cohost_upgrade *upgrade; /**< Null unless the protocol is to be changed. */
} cohost_response;
enum {
    COHOST_BODY_EMPTY = 0,
    COHOST_BODY_BYTES = 1,
    COHOST_BODY_STREAM = 2, /**< The host pulls. */
    COHOST_BODY_PUSH = 3,   /**< The application writes. */
    COHOST_BODY_FILE = 4    /**< Needs COHOST_FEATURE_FILES. */
};

/** A request that goes on after `handle` returned COHOST_PENDING. Frozen. Both functions are called on serving
 * threads, not always the same one, never two at a time; they must not block. Since 1.0. */
typedef struct cohost_task {
    void *state; /**< OWNER: application. */
    /** Goes on. Not called after it returned anything but PENDING.
     * @return as `handle`. */
    cohost_code (*poll)(void *state, cohost_req *req, const cohost_waker *waker);
    /** Ends the task: called once. Before the end it means "cancelled". */
    void (*drop)(void *state);
} cohost_task;

/* ---- log --------------------------------------------------------------------------------------------------- */

/** A place in the application's code that logs. Copied by the host. Since 1.0. */
typedef struct cohost_callsite {
    size_t size;
    uint32_t level;           /**< COHOST_LEVEL_*. */
    uint32_t line;            /**< Or 0. */
    cohost_str target;        /**< What filters name: usually the module's path. UTF-8. */
    cohost_str file;          /**< Or empty. UTF-8. */
    cohost_str name;          /**< Of the event. UTF-8. */
    const cohost_str *fields; /**< Names of the event's fields, UTF-8; at most 32 are kept. */
    size_t n_fields;
} cohost_callsite;
enum {
    COHOST_LEVEL_ERROR = 0, COHOST_LEVEL_WARN = 1, COHOST_LEVEL_INFO = 2, COHOST_LEVEL_DEBUG = 3,
    COHOST_LEVEL_TRACE = 4
};
enum {
    COHOST_INTEREST_NEVER = 0,     /**< No event of the callsite will be written, until the filter changes. */
    COHOST_INTEREST_SOMETIMES = 1, /**< Ask log_enabled before each. */
    COHOST_INTEREST_ALWAYS = 2     /**< Every one is written. */
};

/** One field of a log event. Frozen, used in arrays. Since 1.0. */
typedef struct cohost_value {
    uint32_t field; /**< Place in the callsite's list of fields; others are left out. */
    uint32_t kind;  /**< COHOST_VALUE_*. */
    uint64_t u;
    double f;
    cohost_str s;
} cohost_value;
enum {
    COHOST_VALUE_STR = 0,  /**< `s`, UTF-8; anything else is replaced. */
    COHOST_VALUE_U64 = 1,  /**< `u`. */
    COHOST_VALUE_I64 = 2,  /**< `u`, as two's complement. */
    COHOST_VALUE_BOOL = 3, /**< `u` is not 0. */
    COHOST_VALUE_F64 = 4   /**< `f`. */
};

/* ---- what the host gives ----------------------------------------------------------------------------------- */

/** Bits of cohost_host.features. */
enum {
    COHOST_FEATURE_UPGRADE = 1,        /**< Connections can be upgraded. */
    COHOST_FEATURE_TRAILERS = 2,       /**< Trailers go both ways. */
    COHOST_FEATURE_AFFINE_THREADS = 4, /**< handle, poll, stream and drop of a request run on one thread. */
    COHOST_FEATURE_FILES = 8           /**< COHOST_BODY_FILE is understood. */
};

/** The host: a table of functions, one for each generation of an application. OWNER: host.
 * Valid from `init` for as long as the process lives. Once `shutdown` has returned, config_get and set_ready return
 * COHOST_E_STATE, query null, log_register and log_enabled 0, and log_event and log_text do nothing; handles that were
 * kept can still be given back. All functions are set. Those whose name ends in _blocking wait; all others return at
 * once. Since 1.0. */
struct cohost_host {
    size_t size;
    uint16_t major;
    uint16_t minor;
    uint32_t threads;  /**< Threads that may call `handle` at the same time. */
    uint64_t features; /**< COHOST_FEATURE_*. */
    void *ctx;         /**< The host's. */

    /** Answers the request, once. Called by the application: in the call. The answer goes out when the call returns.
     * @param response  OWNER: application; see cohost_response for what moves.
     * @return DONE; E_STATE when answered or detached already; E_INVALID or E_UNSUPPORTED for an answer that cannot
     *         be given: the host then answers 500 unless a better answer follows. Since 1.0. */
    cohost_code (*respond)(cohost_req *req, const cohost_response *response);
    /** Takes the request body, once. Called by the application: in the call.
     * Nothing is read from the client before the application reads. A body that nobody takes is the host's to skip.
     * @return OWNER: application; 0 when there is none, or none any more. Since 1.0. */
    cohost_body (*take_body)(cohost_req *req);
    /** Takes the request, to answer it later. Called by the application: in the call, once, instead of respond; that call
     * then returns DETACHED. The token may be used, also consumed, before that return.
     * @param on_cancel  or null. Called once, on a serving thread, if the request is cancelled before it is answered:
     *                   with E_GONE, E_TIMEOUT or E_DRAINING; with E_STATE if the call did not return DETACHED. It
     *                   must not block, and only gives notice: the token must still be consumed, there or elsewhere.
     * @param ud         passed on. When the call that consumes the token returns, on_cancel has returned (unless it is
     *                   what makes that call) or will never be called: then `ud` may be freed.
     * @return OWNER: application; 0 when answered or detached already, or when no handle is left. Since 1.0. */
    cohost_token (*detach)(cohost_req *req, void (*on_cancel)(void *ud, cohost_code why), void *ud);

    /** The head of a detached request. Called by the application: any thread.
     * @return OWNER: host; a copy, valid until the token is consumed. Null for no token. Since 1.0. */
    const cohost_head *(*token_head)(const cohost_host *host, cohost_token token);
    /** Takes the body of a detached request: as take_body, from any thread. Since 1.0. */
    cohost_body (*token_take_body)(const cohost_host *host, cohost_token token);
    /** Answers a detached request. Called by the application: any thread. Consumes the token, in every case.
     * @return as respond, with 500 as the answer to a malformed one; or why it is too late. Since 1.0. */
    cohost_code (*token_respond)(const cohost_host *host, cohost_token token, const cohost_response *response);
    /** Gives a detached request up. Called by the application: any thread. Consumes the token, in every case.
     * @param why  the host answers as for `handle` returning it.
     * @return DONE, or why it was too late. Without deadline, a token never consumed keeps the client waiting for
     *         ever. Since 1.0. */
    cohost_code (*token_drop)(const cohost_host *host, cohost_token token, cohost_code why);

    /** The next frame of a request body. Called by the application: any thread, one call at a time per body (E_BUSY).
     * @param waker  woken once after PENDING; a later poll replaces it.
     * @param out    OWNER: application, with `size` set; filled with DONE only. Its data moves to the application.
     * @return DONE, PENDING, EOF; E_TOO_LARGE or E_IO: the body is cut; or why it was cancelled. Since 1.0. */
    cohost_code (*body_poll)(const cohost_host *host, cohost_body body, const cohost_waker *waker, cohost_frame *out);
    /** The same by callback. Called by the application: any thread, one call at a time per body.
     * @param cb  called once if DONE is returned: on a serving thread, or on this one before the return; must not
     *            block. `rc` as from body_poll, or E_STATE when the body is dropped meanwhile; `frame` is null
     *            unless rc is DONE, and the data in it moves. Since 1.0. */
    cohost_code (*body_read)(const cohost_host *host, cohost_body body,
                             void (*cb)(void *ud, cohost_code rc, cohost_frame *frame), void *ud);
    /** The same by waiting, into memory of the application; trailers are skipped. Called by the application: any
     * thread that may block, so not a serving one (E_STATE), one call at a time per body.
     * @param into, len  OWNER: application; written only with DONE.   @param n  bytes written: above 0 with DONE.
     * @return DONE, EOF, or as body_poll. Since 1.0. */
    cohost_code (*body_read_blocking)(const cohost_host *host, cohost_body body, void *into, size_t len, size_t *n);
    /** Ends a body, read or not, and a read that waits (E_STATE); what was not read is skipped. Any thread. Consumes
     * the body. Since 1.0. */
    cohost_code (*body_drop)(const cohost_host *host, cohost_body body);

    /** Adds to a response body. Called by the application: any thread; two threads at a time are both served, in any order.
     * @param data  moved, in every case.
     * @return DONE; AGAIN: taken, but wait for room before the next, since the queue grows; E_INVALID: more than the
     *         Content-Length given, and the response is cut; or why it was cancelled. Since 1.0. */
    cohost_code (*sink_write)(const cohost_host *host, cohost_sink sink, cohost_bytes *data);
    /** Calls back when there is room. Called by the application: any thread, one wait at a time per sink (E_BUSY).
     * @param cb  called once if DONE is returned: on a serving thread, or on this one before the return; must not
     *            block. `rc`: DONE for room; or a code below 0 as from sink_write, also when the sink is consumed
     *            meanwhile: then on the thread that does it. Since 1.0. */
    cohost_code (*sink_on_writable)(const cohost_host *host, cohost_sink sink, void (*cb)(void *ud, cohost_code rc),
                                    void *ud);
    /** Waits for room, then adds a copy. Called by the application: any thread that may block, and not in the call
     * that responded, since nothing is sent before that returns (E_STATE).
     * @return DONE: all is queued; or as sink_write. Since 1.0. */
    cohost_code (*sink_write_blocking)(const cohost_host *host, cohost_sink sink, const void *from, size_t len);
    /** Ends a response body well, or cuts it if Content-Length said more (E_INVALID). Any thread. Consumes the sink.
     * @param trailers  copied; null with n = 0 for none. Left out where protocol or client takes none. Since 1.0. */
    cohost_code (*sink_end)(const cohost_host *host, cohost_sink sink, const cohost_header *trailers, uint32_t n);
    /** Cuts a response body, so that the client sees it is not whole. Any thread. Consumes the sink. Since 1.0. */
    cohost_code (*sink_abort)(const cohost_host *host, cohost_sink sink);

    /** Reads from an upgraded stream. Called by the application: any thread; one thread may read while another writes,
     * flushes or shuts down, but two on one side give E_BUSY. That holds for the whole io_ family.
     * @param into, len  OWNER: application; written only with DONE.   @param n  bytes read: above 0 with DONE.
     * @return DONE, PENDING, EOF when the client has ended its side, or below 0. Since 1.0. */
    cohost_code (*io_poll_read)(const cohost_host *host, cohost_io io, const cohost_waker *waker, void *into,
                                size_t len, size_t *n);
    /** Writes some bytes. @param n  bytes taken: above 0 with DONE.  @return DONE, PENDING, or below 0. Since 1.0. */
    cohost_code (*io_poll_write)(const cohost_host *host, cohost_io io, const cohost_waker *waker, const void *from,
                                 size_t len, size_t *n);
    /** Pushes out what was written. @return DONE, PENDING, or below 0. Since 1.0. */
    cohost_code (*io_poll_flush)(const cohost_host *host, cohost_io io, const cohost_waker *waker);
    /** Flushes and ends the writing side; reading goes on. @return DONE, PENDING, or below 0. Since 1.0. */
    cohost_code (*io_poll_shutdown)(const cohost_host *host, cohost_io io, const cohost_waker *waker);
    /** As io_poll_read, by waiting. Any thread that may block, so not a serving one (E_STATE). Since 1.0. */
    cohost_code (*io_read_blocking)(const cohost_host *host, cohost_io io, void *into, size_t len, size_t *n);
    /** Writes everything and flushes, by waiting. Any thread that may block (E_STATE). Since 1.0. */
    cohost_code (*io_write_blocking)(const cohost_host *host, cohost_io io, const void *from, size_t len);
    /** Closes the stream; wait for io_poll_shutdown before it to be sure that all was sent. Any thread. Consumes
     * the io; who is in a call on it in another thread keeps the stream open until that returns. Since 1.0. */
    cohost_code (*io_drop)(const cohost_host *host, cohost_io io);

    /** A setting of the application; the empty key gives all of them, as JSON. Any thread.
     * @param value  UTF-8: a string as it is, anything else as JSON. OWNER: host, valid until `shutdown` returns.
     * @return DONE; EOF for a key that is not set, with `*value` empty; E_INVALID: not UTF-8. Since 1.0. */
    cohost_code (*config_get)(const cohost_host *host, cohost_str key, cohost_str *value);

    /** Makes a callsite known; once for each is enough until COHOST_EVENT_LOG_FILTER. Any thread.
     * @param id  for the two below; the same for equal callsites.  @return COHOST_INTEREST_*. Since 1.0. */
    uint32_t (*log_register)(const cohost_host *host, const cohost_callsite *callsite, uint64_t *id);
    /** Whether an event of this callsite would be written now: 1 or 0. Any thread. Since 1.0. */
    uint32_t (*log_enabled)(const cohost_host *host, uint64_t id);
    /** Writes an event. Any thread. @param request_id  from the head, 0 for none. An unknown id: nothing. Since 1.0. */
    void (*log_event)(const cohost_host *host, uint64_t id, uint64_t request_id, const cohost_value *values, size_t n);
    /** Writes a line of UTF-8 (anything else is replaced). Any thread. Since 1.0. */
    void (*log_text)(const cohost_host *host, uint32_t level, uint64_t request_id, cohost_str target,
                     cohost_str message);

    /** Closes (0) or opens (1) the gate for requests: while it is closed, they get 503. Any thread. Who never calls it
     * is ready when `init` returns. Who needs longer calls it with 0 in `init`: the start then goes on, within its
     * configured time, until it is called with 1. Since 1.0. */
    cohost_code (*set_ready)(const cohost_host *host, int32_t ready);
    /** An optional table, such as "informational.v1", or null. Any thread. Valid as long as the host. Since 1.0. */
    const void *(*query)(const cohost_host *host, const char *name);
};

/** The table "informational.v1" of cohost_host.query. Since 1.0. */
typedef struct cohost_informational {
    size_t size;
    /** Sends a 1xx response (not 101) ahead of the answer. Called by the application: in the call.
     * @return DONE; E_UNSUPPORTED when this connection cannot carry it: the request goes on; E_STATE, E_INVALID. */
    cohost_code (*inform)(cohost_req *req, uint16_t status, const cohost_header *headers, uint32_t n);
    /** The same for a detached request. Called by the application: any thread. */
    cohost_code (*token_inform)(const cohost_host *host, cohost_token token, uint16_t status,
                                const cohost_header *headers, uint32_t n);
} cohost_informational;

/* ---- what the application gives ---------------------------------------------------------------------------- */

/** Where `init` writes why it failed: UTF-8, at most `cap` bytes at `buf`, their number to `len`. Frozen. Since 1.0. */
typedef struct cohost_err {
    char *buf; /**< OWNER: host. */
    size_t cap;
    size_t len;
} cohost_err;

/** What an application is told about itself. Valid, with all it points to, until `init` returns. Since 1.0. */
typedef struct cohost_init {
    size_t size;
    cohost_str name;          /**< In configuration, logs and metrics. */
    cohost_str content_root;  /**< Directory of its files, absolute. */
    cohost_str path_base;     /**< Path prefix, empty at the root. */
    uint32_t generation;      /**< Which loaded copy this is, from 1. */
    uint32_t threads;         /**< Threads that may call `handle` at the same time. */
    uint32_t runtime_threads; /**< Threads its own runtime should have; 0 for its default. */
    uint32_t reserved;
} cohost_init;

/** Bits of cohost_app.flags. */
enum {
    COHOST_APP_BLOCKING = 1,    /**< `handle` may block, and use _blocking functions: it gets a thread for that. */
    COHOST_APP_BUFFER_BODY = 2, /**< The host collects the body, up to its limit, into head->body. */
    COHOST_APP_PANIC_ABORT = 4, /**< A panic ends the process. */
    COHOST_APP_RUNTIME = 8      /**< Starts threads of its own. */
};
/** Second argument of cohost_app.event. */
enum {
    COHOST_EVENT_LOG_FILTER = 1, /**< What log_register answered may have changed: register again. */
    COHOST_EVENT_CONFIG = 2      /**< Settings changed: ask config_get again. */
};

/** The descriptor: constant data that the library exports as `cohost_app_v1`. Since 1.0. */
typedef struct cohost_app {
    uint64_t magic; /**< COHOST_MAGIC. */
    size_t size;
    uint16_t major;          /**< COHOST_ABI_MAJOR. */
    uint16_t minor;          /**< COHOST_ABI_MINOR. */
    uint16_t min_host_minor; /**< The oldest host it can live with. */
    uint16_t reserved;
    uint32_t max_concurrency;   /**< Requests at a time; more wait in the host. 0 for no limit. */
    uint32_t flags;             /**< COHOST_APP_*. */
    uint64_t requires_features; /**< COHOST_FEATURE_* without which it will not run. */
    const char *name;           /**< NUL-terminated, or null; so are the next two. */
    const char *version;
    const char *sdk; /**< What it was built with. */

    /** Starts the application, once for each generation. Called by the host: control thread, first of all.
     * @param host      OWNER: host; may be kept.
     * @param err       says why it failed; read only with a code below 0.
     * @param instance  OWNER: application. Passed to all other functions; anything, also null.
     * @return DONE; or below 0: not started, and no other function will be called. One that does not return within
     *         the configured time counts as failed. Since 1.0. */
    cohost_code (*init)(const cohost_host *host, const cohost_init *init, cohost_err *err, void **instance);
    /** Handles a request. Called by the host: serving threads, several at a time; or blocking ones with
     * COHOST_APP_BLOCKING.
     * @param waker  for a task that begins to wait in this call.
     * @param task   OWNER: host; filled by the application before it returns PENDING, and moved with that.
     * @return DONE after respond; PENDING with a task; DETACHED after detach; or below 0, in place of an answer given
     *         before: 503 for E_UNAVAILABLE, E_BUSY and E_DRAINING, 413 for E_TOO_LARGE, 504 for E_TIMEOUT, 500 for
     *         all others. A code that does not fit to what was done: 500. Since 1.0. */
    cohost_code (*handle)(void *instance, cohost_req *req, const cohost_head *head, const cohost_waker *waker,
                          cohost_task *task);
    /** No new requests will come: finish those there are; end streams that never would. Called by the host: control
     * thread, once, before shutdown. Null if there is nothing to do. Since 1.0. */
    void (*drain)(void *instance);
    /** Ends the application: joins its threads, frees what it has. Called by the host: control thread, once, last,
     * when every request has ended or was cancelled. Null if there is nothing to do.
     * @param deadline_ns  CLOCK_MONOTONIC; afterwards the host goes on without it.
     * @return DONE; E_BUSY when threads are left over, which the host reports. Since 1.0. */
    cohost_code (*shutdown)(void *instance, uint64_t deadline_ns);
    /** Something changed: COHOST_EVENT_*. Called by the host: control thread, also while requests run. Unknown events
     * are to be ignored. Or null. Since 1.0. */
    void (*event)(void *instance, uint32_t what);
} cohost_app;

/** The one symbol that an application library exports. */
extern COHOST_PUBLIC const cohost_app cohost_app_v1;

/** The ELF note: what a host can know of a library before any of its code runs. Frozen. Since 1.0. */
typedef struct cohost_note {
    uint32_t namesz; /**< 8: length of `name`. */
    uint32_t descsz; /**< 16: length of what follows it. */
    uint32_t kind;   /**< COHOST_NOTE_TYPE. */
    uint8_t name[8]; /**< COHOST_NOTE_OWNER, with NULs to the end. */
    uint16_t major;
    uint16_t minor;
    uint16_t min_host_minor;
    uint16_t pad;
    uint32_t flags;             /**< As in the cohost_app: one that differs is refused. */
    uint32_t requires_features; /**< The low half of that in the cohost_app. */
} cohost_note;
#define COHOST_NOTE_TYPE 0x41480001u
#define COHOST_NOTE_OWNER "Cohost"
#define COHOST_NOTE_SECTION ".note.cohost"

/** Puts the note into the library: once, in one file, with the flags and requires_features of the cohost_app. The
 * second is for one that also sets min_host_minor: older hosts then refuse it, and say so. */
#if defined(__GNUC__)
#define COHOST_NOTE(flags, requires) COHOST_NOTE_FOR(0, flags, requires)
#define COHOST_NOTE_FOR(min_host_minor, flags, requires)                                                            \
    __attribute__((used, aligned(4), section(COHOST_NOTE_SECTION))) static const cohost_note cohost_note_ = {       \
        8, 16, COHOST_NOTE_TYPE, COHOST_NOTE_OWNER, COHOST_ABI_MAJOR, COHOST_ABI_MINOR, (min_host_minor), 0,        \
        (flags), (requires)}
#endif

/* ---- header names by number -------------------------------------------------------------------------------- */

/** Values of cohost_header.name_id: the name in upper case, with _ for -. Grows at the end. Since 1.0. */
enum {
    COHOST_HDR_NONE = 0, COHOST_HDR_ACCEPT = 1, COHOST_HDR_ACCEPT_CHARSET = 2, COHOST_HDR_ACCEPT_ENCODING = 3,
    COHOST_HDR_ACCEPT_LANGUAGE = 4, COHOST_HDR_ACCEPT_RANGES = 5, COHOST_HDR_ACCESS_CONTROL_ALLOW_CREDENTIALS = 6,
    COHOST_HDR_ACCESS_CONTROL_ALLOW_HEADERS = 7, COHOST_HDR_ACCESS_CONTROL_ALLOW_METHODS = 8,
    COHOST_HDR_ACCESS_CONTROL_ALLOW_ORIGIN = 9, COHOST_HDR_ACCESS_CONTROL_EXPOSE_HEADERS = 10,
    COHOST_HDR_ACCESS_CONTROL_MAX_AGE = 11, COHOST_HDR_ACCESS_CONTROL_REQUEST_HEADERS = 12,
    COHOST_HDR_ACCESS_CONTROL_REQUEST_METHOD = 13, COHOST_HDR_AGE = 14, COHOST_HDR_ALLOW = 15,
    COHOST_HDR_ALT_SVC = 16, COHOST_HDR_AUTHORIZATION = 17, COHOST_HDR_CACHE_CONTROL = 18,
    COHOST_HDR_CONNECTION = 19, COHOST_HDR_CONTENT_DISPOSITION = 20, COHOST_HDR_CONTENT_ENCODING = 21,
    COHOST_HDR_CONTENT_LANGUAGE = 22, COHOST_HDR_CONTENT_LENGTH = 23, COHOST_HDR_CONTENT_LOCATION = 24,
    COHOST_HDR_CONTENT_RANGE = 25, COHOST_HDR_CONTENT_SECURITY_POLICY = 26, COHOST_HDR_CONTENT_TYPE = 27,
    COHOST_HDR_COOKIE = 28, COHOST_HDR_DATE = 29, COHOST_HDR_DNT = 30, COHOST_HDR_ETAG = 31, COHOST_HDR_EXPECT = 32,
    COHOST_HDR_EXPIRES = 33, COHOST_HDR_FORWARDED = 34, COHOST_HDR_FROM = 35, COHOST_HDR_HOST = 36,
    COHOST_HDR_IF_MATCH = 37, COHOST_HDR_IF_MODIFIED_SINCE = 38, COHOST_HDR_IF_NONE_MATCH = 39,
    COHOST_HDR_IF_RANGE = 40, COHOST_HDR_IF_UNMODIFIED_SINCE = 41, COHOST_HDR_LAST_MODIFIED = 42,
    COHOST_HDR_LINK = 43, COHOST_HDR_LOCATION = 44, COHOST_HDR_ORIGIN = 45, COHOST_HDR_PRAGMA = 46,
    COHOST_HDR_PRIORITY = 47, COHOST_HDR_PROXY_AUTHORIZATION = 48, COHOST_HDR_RANGE = 49, COHOST_HDR_REFERER = 50,
    COHOST_HDR_REFERRER_POLICY = 51, COHOST_HDR_RETRY_AFTER = 52, COHOST_HDR_SEC_CH_UA = 53,
    COHOST_HDR_SEC_CH_UA_MOBILE = 54, COHOST_HDR_SEC_CH_UA_PLATFORM = 55, COHOST_HDR_SEC_FETCH_DEST = 56,
    COHOST_HDR_SEC_FETCH_MODE = 57, COHOST_HDR_SEC_FETCH_SITE = 58, COHOST_HDR_SEC_FETCH_USER = 59,
    COHOST_HDR_SEC_WEBSOCKET_ACCEPT = 60, COHOST_HDR_SEC_WEBSOCKET_EXTENSIONS = 61,
    COHOST_HDR_SEC_WEBSOCKET_KEY = 62, COHOST_HDR_SEC_WEBSOCKET_PROTOCOL = 63,
    COHOST_HDR_SEC_WEBSOCKET_VERSION = 64, COHOST_HDR_SERVER = 65, COHOST_HDR_SET_COOKIE = 66,
    COHOST_HDR_STRICT_TRANSPORT_SECURITY = 67, COHOST_HDR_TE = 68, COHOST_HDR_TRACEPARENT = 69,
    COHOST_HDR_TRACESTATE = 70, COHOST_HDR_TRAILER = 71, COHOST_HDR_TRANSFER_ENCODING = 72, COHOST_HDR_UPGRADE = 73,
    COHOST_HDR_UPGRADE_INSECURE_REQUESTS = 74, COHOST_HDR_USER_AGENT = 75, COHOST_HDR_VARY = 76,
    COHOST_HDR_VIA = 77, COHOST_HDR_WWW_AUTHENTICATE = 78, COHOST_HDR_X_CONTENT_TYPE_OPTIONS = 79,
    COHOST_HDR_X_FORWARDED_FOR = 80, COHOST_HDR_X_FORWARDED_HOST = 81, COHOST_HDR_X_FORWARDED_PROTO = 82,
    COHOST_HDR_X_FRAME_OPTIONS = 83, COHOST_HDR_X_REAL_IP = 84, COHOST_HDR_X_REQUEST_ID = 85,
    COHOST_HDR_X_REQUESTED_WITH = 86, COHOST_HDR_GRPC_STATUS = 87, COHOST_HDR_GRPC_MESSAGE = 88,
    COHOST_HDR_GRPC_ENCODING = 89, COHOST_HDR_GRPC_ACCEPT_ENCODING = 90, COHOST_HDR_GRPC_TIMEOUT = 91
};

/* ---- conveniences: no part of the contract, and no more than C compiled into the application ---------------- */

/** A NUL-terminated constant or string, without the NUL. */
static inline cohost_str cohost_s(const char *z) {
    cohost_str s;
    s.ptr = (const uint8_t *)z;
    for (s.len = 0; z[s.len] != 0; s.len++) {}
    return s;
}

/** A field of two NUL-terminated strings, which it borrows; the name in lower case. */
static inline cohost_header cohost_field(const char *name, const char *value) {
    cohost_str n = cohost_s(name), v = cohost_s(value);
    cohost_header field;
    field.name = n.ptr, field.value = v.ptr;
    field.name_len = (uint32_t)n.len, field.value_len = (uint32_t)v.len;
    field.name_id = COHOST_HDR_NONE, field.flags = 0, field.reserved = 0;
    return field;
}

/** The first request header of that number; null if there is none. */
static inline const cohost_header *cohost_find_header(const cohost_head *head, uint16_t id) {
    for (uint32_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].name_id == id) return &head->headers[i];
    }
    return NULL;
}

/** Answers with `len` bytes at `ptr`, which are copied. The result is right as that of `handle`. */
static inline cohost_code cohost_reply(const cohost_host *host, cohost_req *req, uint16_t status,
                                       const char *content_type, const void *ptr, size_t len) {
    cohost_header type = cohost_field("content-type", content_type);
    cohost_bytes body;
    cohost_response response;
    type.name_id = COHOST_HDR_CONTENT_TYPE;
    body.ptr = (const uint8_t *)ptr, body.len = len, body.release = NULL, body.flags = 0;
    body.owner[0] = body.owner[1] = body.owner[2] = body.owner[3] = 0;
    response.size = sizeof(response);
    response.status = status, response.flags = 0;
    response.n_headers = 1, response.headers = &type;
    response.body_kind = COHOST_BODY_BYTES, response.reserved = 0;
    response.body = &body;
    response.stream = NULL, response.sink = NULL, response.file = NULL, response.upgrade = NULL;
    return host->respond(req, &response);
}

#ifdef __cplusplus
}
#endif

#endif /* COHOST_H */
