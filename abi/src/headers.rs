//! Header fields, and the table of names that both sides know by number.

/// One header field. Frozen: used in arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The name in lower case; always set, also when `name_id` is.
    pub name: *const u8,
    /// The value: bytes, not text.
    pub value: *const u8,
    /// Length of the name.
    pub name_len: u32,
    /// Length of the value.
    pub value_len: u32,
    /// Place of the name in [`HEADER_NAMES`] plus one, or 0. A number above the reader's table counts as 0.
    pub name_id: u16,
    /// See [`header_flags`].
    pub flags: u16,
    /// 0.
    pub reserved: u32,
}

/// Bits of [`Header::flags`].
pub mod header_flags {
    /// A secret: never indexed by HPACK or QPACK, never logged.
    pub const SENSITIVE: u16 = 1;
}

macro_rules! names {
    ($($id:ident = $name:literal)+) => {
        /// Field names by number: `HEADER_NAMES[name_id - 1]`. Grows at the end, never changes otherwise.
        pub const HEADER_NAMES: [&str; [$($name),+].len()] = [$($name),+];

        /// The numbers of [`HEADER_NAMES`], for `name_id`.
        pub mod header_id {
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "only numbers the constants")]
            #[repr(u16)]
            enum Id { NONE, $($id),+ }
            /// Not in the table.
            pub const NONE: u16 = Id::NONE as u16;
            $(#[doc = concat!("`", $name, "`")] pub const $id: u16 = Id::$id as u16;)+
        }
    };
}

names! {
    ACCEPT = "accept"
    ACCEPT_CHARSET = "accept-charset"
    ACCEPT_ENCODING = "accept-encoding"
    ACCEPT_LANGUAGE = "accept-language"
    ACCEPT_RANGES = "accept-ranges"
    ACCESS_CONTROL_ALLOW_CREDENTIALS = "access-control-allow-credentials"
    ACCESS_CONTROL_ALLOW_HEADERS = "access-control-allow-headers"
    ACCESS_CONTROL_ALLOW_METHODS = "access-control-allow-methods"
    ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin"
    ACCESS_CONTROL_EXPOSE_HEADERS = "access-control-expose-headers"
    ACCESS_CONTROL_MAX_AGE = "access-control-max-age"
    ACCESS_CONTROL_REQUEST_HEADERS = "access-control-request-headers"
    ACCESS_CONTROL_REQUEST_METHOD = "access-control-request-method"
    AGE = "age"
    ALLOW = "allow"
    ALT_SVC = "alt-svc"
    AUTHORIZATION = "authorization"
    CACHE_CONTROL = "cache-control"
    CONNECTION = "connection"
    CONTENT_DISPOSITION = "content-disposition"
    CONTENT_ENCODING = "content-encoding"
    CONTENT_LANGUAGE = "content-language"
    CONTENT_LENGTH = "content-length"
    CONTENT_LOCATION = "content-location"
    CONTENT_RANGE = "content-range"
    CONTENT_SECURITY_POLICY = "content-security-policy"
    CONTENT_TYPE = "content-type"
    COOKIE = "cookie"
    DATE = "date"
    DNT = "dnt"
    ETAG = "etag"
    EXPECT = "expect"
    EXPIRES = "expires"
    FORWARDED = "forwarded"
    FROM = "from"
    HOST = "host"
    IF_MATCH = "if-match"
    IF_MODIFIED_SINCE = "if-modified-since"
    IF_NONE_MATCH = "if-none-match"
    IF_RANGE = "if-range"
    IF_UNMODIFIED_SINCE = "if-unmodified-since"
    LAST_MODIFIED = "last-modified"
    LINK = "link"
    LOCATION = "location"
    ORIGIN = "origin"
    PRAGMA = "pragma"
    PRIORITY = "priority"
    PROXY_AUTHORIZATION = "proxy-authorization"
    RANGE = "range"
    REFERER = "referer"
    REFERRER_POLICY = "referrer-policy"
    RETRY_AFTER = "retry-after"
    SEC_CH_UA = "sec-ch-ua"
    SEC_CH_UA_MOBILE = "sec-ch-ua-mobile"
    SEC_CH_UA_PLATFORM = "sec-ch-ua-platform"
    SEC_FETCH_DEST = "sec-fetch-dest"
    SEC_FETCH_MODE = "sec-fetch-mode"
    SEC_FETCH_SITE = "sec-fetch-site"
    SEC_FETCH_USER = "sec-fetch-user"
    SEC_WEBSOCKET_ACCEPT = "sec-websocket-accept"
    SEC_WEBSOCKET_EXTENSIONS = "sec-websocket-extensions"
    SEC_WEBSOCKET_KEY = "sec-websocket-key"
    SEC_WEBSOCKET_PROTOCOL = "sec-websocket-protocol"
    SEC_WEBSOCKET_VERSION = "sec-websocket-version"
    SERVER = "server"
    SET_COOKIE = "set-cookie"
    STRICT_TRANSPORT_SECURITY = "strict-transport-security"
    TE = "te"
    TRACEPARENT = "traceparent"
    TRACESTATE = "tracestate"
    TRAILER = "trailer"
    TRANSFER_ENCODING = "transfer-encoding"
    UPGRADE = "upgrade"
    UPGRADE_INSECURE_REQUESTS = "upgrade-insecure-requests"
    USER_AGENT = "user-agent"
    VARY = "vary"
    VIA = "via"
    WWW_AUTHENTICATE = "www-authenticate"
    X_CONTENT_TYPE_OPTIONS = "x-content-type-options"
    X_FORWARDED_FOR = "x-forwarded-for"
    X_FORWARDED_HOST = "x-forwarded-host"
    X_FORWARDED_PROTO = "x-forwarded-proto"
    X_FRAME_OPTIONS = "x-frame-options"
    X_REAL_IP = "x-real-ip"
    X_REQUEST_ID = "x-request-id"
    X_REQUESTED_WITH = "x-requested-with"
    GRPC_STATUS = "grpc-status"
    GRPC_MESSAGE = "grpc-message"
    GRPC_ENCODING = "grpc-encoding"
    GRPC_ACCEPT_ENCODING = "grpc-accept-encoding"
    GRPC_TIMEOUT = "grpc-timeout"
}
