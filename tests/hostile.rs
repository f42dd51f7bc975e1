//! Clients that mean harm, or are broken: what they get, and that nobody else is harmed. Under both models.
//!
//! Which test holds which of the hostile inputs. `unit` is beside the code; a name without a module is in this folder.
//!
//! | | input | held by |
//! |---|---|---|
//! | A1–A4 | lengths: with chunks, twice, no number | `malformed` `a_length_is_one_number_or_none` |
//! | A5, A6 | codings; a space before a colon | `malformed` `a_coding_is_chunked_or_none` |
//! | A7 | chunks in HTTP/1.0 | `request_and_response` `http10_knows_no_chunked_requests` |
//! | A8–A11 | sizes, extensions, ends and trailers of chunks | `malformed` `a_body_in_chunks_is_what_the_chunks_say`; `request_and_response` `trailers_say_nothing_that_only_fields_may` |
//! | A12, A13 | ends of lines, folded lines | `malformed` `lines_end_as_lines_do` |
//! | A14–A17 | names, values and sizes of fields and targets | `malformed` `fields_have_names_and_a_size`; `request_and_response` `fields` |
//! | A18 | hosts that are none | `request_and_response` `a_request_has_one_authority_that_is_one`; unit `http/target.rs` |
//! | A19–A22 | targets, lines, methods | `malformed` `a_request_line_is_three_words`; `request_and_response` `targets` |
//! | A23 | upgrades that are none | `malformed` `no_tunnel_is_opened_that_is_none`; `request_and_response` `http_itself_is_no_protocol_to_change_to` |
//! | A24 | expectations | `malformed` `bytes_of_a_body_are_no_request`; `slow` `who_asks_whether_to_send_and_then_does_not_is_408`; `request_and_response` `interim` |
//! | A25 | many requests in one write | `malformed` `a_thousand_requests_in_one_write_are_answered_in_order`; unit `http/connection/tests.rs` |
//! | A26 | bodies where none is | `malformed` `bytes_of_a_body_are_no_request`; `request_and_response` `connections`; `limits_and_endings` |
//! | A27 | answers of instances that are none | unit `dispatcher/out_of_process/tests/failures.rs`; `foreign` `an_application_cannot_speak_for_the_host` |
//! | A28 | answers of libraries that are none | `misbehaviour` `each_fault_has_its_code_and_harms_nobody`; `limits_and_endings` |
//! | B1 | requests that are cancelled, by either side | `floods` `requests_that_are_cancelled_at_once_end_a_connection`, `streams_that_the_host_has_to_reset_end_a_connection` |
//! | B2 | heads without an end, bombs of HPACK | `floods` `heads_without_an_end_are_not_collected` |
//! | B3 | frames of no use | `floods` `frames_of_no_use_end_a_connection`, `who_never_reads_what_is_answered_to_a_flood_costs_no_memory`; unit `http/flood.rs` |
//! | B4 | what only HTTP/2 can say | `floods` `what_only_http2_can_say_is_not_said_in_http1`; `request_and_response` `an_authority_and_a_host_field_of_http2_do_not_differ`. A `#` in a path goes nowhere: crate `http` cuts it off, with all behind it, before anybody could see it |
//! | B5 | cookies in pieces, too many fields | `floods` `pieces_of_a_cookie_are_one_field_and_too_many_fields_are_431` |
//! | B6 | no window | `slow` `a_stream_without_a_window_is_cancelled_and_its_connection_is_not`; unit `http/streams.rs`, `http/flood.rs` |
//! | B7 | a client that goes away | `request_and_response` `cancellation` |
//! | D1, D2 | forwarding fields | `front` `proxies`; `foreign` `what_an_untrusted_client_says_of_itself_is_replaced`; unit `forwarded/tests.rs` |
//! | D3, D4 | the host's own fields, and `Connection` | `foreign` `a_client_cannot_forge_what_the_host_knows_of_it`, `a_client_cannot_name_the_hosts_fields_in_connection` |
//! | D5 | fields about the connection | unit `fields.rs`; `request_and_response` `both_models_show_the_same_request` |
//! | D6 | restrictions and who says he is somebody else | `front` `restrictions_are_for_the_client_and_not_for_its_proxy`; unit `front/ip.rs` |
//! | D7 | fields that steer other servers | `trust` |
//! | D8 | one connection, several authorities | unit `router/mod.rs`; `front`, for TLS |
//! | E1 | slow heads | `slow` `a_head_that_comes_byte_by_byte_is_not_waited_for`, `a_preface_that_stays_half_is_not_waited_for`; `front` `proxies` |
//! | E2 | slow bodies | `slow` `a_body_that_…` |
//! | E3 | slow readers | `slow` `a_client_that_takes_nothing_is_cut_off`; `request_and_response` `a_slow_reader_stops_the_writer` |
//! | E4 | resets | `request_and_response` `cancellation` |
//! | E5 | many connections | `front` `a_client_has_so_many_connections_and_not_more`; `slow` `an_idle_connection_…`; `crowds`; unit `http/idlers.rs` |

// More connections than there are places.
mod crowds;

// Frames of HTTP/2 that are of no use, or none.
mod floods;

// Bytes that are no request of HTTP/1, or two.
mod malformed;

// Who sends or takes too slowly, or nothing at all.
mod slow;

// Who says what only others may.
mod trust;

use crate::host::{Host, PATIENCE};

/// Somebody else is served, and soon.
async fn canary(host: &Host) {
    let answer = tokio::time::timeout(PATIENCE / 10, host.get("/")).await.expect("an answer soon");
    assert_eq!(answer.status, 200);
}
