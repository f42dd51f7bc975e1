//! The application as a host calls it, without a host: `cohost_app::testing`.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use cohost_app::testing::{Failure, Hosted, host};
use serde_json::{Value, json};

async fn app() -> Hosted {
    let settings = json!({ "greeting": "Good evening" });
    host(sample_app::app).path_base("/shop").settings(settings).start().await.unwrap()
}

#[tokio::test]
async fn the_greeting_is_a_setting() {
    let page = app().await.get("/").await.unwrap();
    assert!(String::from_utf8_lossy(page.body()).contains("<h1>Good evening</h1>"));
}

#[tokio::test]
async fn facts_are_there() {
    let info = app().await.get("/info?a=b").await.unwrap();
    let info: Value = serde_json::from_slice(info.body()).unwrap();
    assert_eq!(
        (&info["path_base"], &info["path"], &info["query"]),
        (&json!("/shop"), &json!("/info"), &json!("a=b"))
    );
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_application_goes_on() {
    let app = app().await;
    let error = app.get("/panic").await.unwrap_err();
    assert_eq!(error.downcast_ref::<Failure>().unwrap().code.as_str(), "application_panicked");
    assert_eq!(app.get("/plaintext").await.unwrap().status(), 200);
    assert!(app.stop().await);
}
