//! The macro in a crate that forbids `unsafe`.
#![forbid(unsafe_code)]

use axum::Router;
use cohost_app::{Context, abi};

async fn app(_: Context) -> Result<Router, String> {
    Ok(Router::new())
}

cohost_app::export!(app);

#[test]
fn an_application_without_unsafe_exports_a_descriptor() {
    let app = &cohost_app_v1;

    assert_eq!(app.magic, abi::MAGIC);
    assert_eq!((app.major, app.minor), (abi::ABI_MAJOR, abi::ABI_MINOR));
    assert_eq!(app.flags & abi::app_flags::RUNTIME, abi::app_flags::RUNTIME);
    assert!(!app.name.is_null() && !app.version.is_null() && !app.sdk.is_null());
}

#[test]
fn the_note_repeats_the_descriptor() {
    assert_eq!(cohost_app::NOTE.flags, cohost_app_v1.flags);
    assert_eq!(u64::from(cohost_app::NOTE.requires_features), cohost_app_v1.requires_features);
}
