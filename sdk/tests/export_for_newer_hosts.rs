//! The macro for an application that needs a newer host.
#![forbid(unsafe_code)]

use axum::Router;
use cohost_app::{Context, abi};

async fn app(_: Context) -> Result<Router, String> {
    Ok(Router::new())
}

cohost_app::export!(app, min_host_minor = 7);

#[test]
fn descriptor_and_note_say_which_host_an_application_needs() {
    assert_eq!(cohost_app_v1.min_host_minor, 7);

    let numbers = [abi::ABI_MAJOR, abi::ABI_MINOR, 7];
    let note: Vec<u8> =
        abi::NOTE_OWNER.into_iter().chain(numbers.into_iter().flat_map(u16::to_ne_bytes)).collect();
    let linked = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(linked.windows(note.len()).any(|bytes| bytes == note), "no note for hosts of 1.7 in the file");
}
