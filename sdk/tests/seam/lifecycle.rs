//! How an application starts, hears of its end, and ends.

use std::{convert::Infallible, sync::mpsc};

use axum::{Router, routing::get};
use cohost_app::{Context, abi::code};
use serde::Deserialize;

use crate::fake::{Call, Fake};

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    greeting: String,
}

async fn greeter(cx: Context) -> Result<Router, cohost_app::SettingsError> {
    let Settings { greeting } = cx.settings()?;
    let place =
        format!("{} {} {} {}", cx.name(), cx.content_root().display(), cx.path_base(), cx.generation());
    cx.set_ready(false);
    Ok(Router::new().route("/", get(move || async move { format!("{greeting}, {place}, {}", cx.threads()) })))
}

#[test]
fn an_application_knows_its_place_and_its_settings() {
    let fake = Fake::new();
    fake.settings.lock().unwrap().insert(String::new(), r#"{"greeting":"ahoy"}"#.into());

    let app = fake.start(cohost_app::linked_descriptor(greeter, "greeter\0", "1\0")).unwrap();

    assert_eq!(app.call(Call::get("/")).unwrap().text(), "ahoy, demo /srv/demo /base 3, 2");
    assert_eq!(*fake.ready.lock().unwrap(), Some(false));
}

#[test]
fn no_settings_are_an_empty_object() {
    let app = Fake::new().start(cohost_app::linked_descriptor(greeter, "greeter\0", "1\0")).unwrap();

    assert_eq!(app.call(Call::get("/")).unwrap().text(), ", demo /srv/demo /base 3, 2");
}

#[test]
fn a_failed_start_says_why() {
    let fake = Fake::new();
    fake.settings.lock().unwrap().insert(String::new(), r#"{"greeting":1}"#.into());

    let message = fake.start(cohost_app::linked_descriptor(greeter, "greeter\0", "1\0")).err().unwrap();

    assert!(message.starts_with("the application's settings are not as expected: invalid type"), "{message}");
}

#[test]
fn a_panic_at_the_start_says_why() {
    async fn panics(_: Context) -> Result<Router, Infallible> {
        panic!("no way")
    }

    let message = Fake::new().start(cohost_app::linked_descriptor(panics, "panics\0", "1\0")).err().unwrap();

    assert_eq!(message, "no way");
}

#[test]
fn draining_is_heard_and_shutdown_drops_the_service() {
    struct Told(mpsc::Sender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    static TOLD: std::sync::Mutex<Option<mpsc::Sender<&'static str>>> = std::sync::Mutex::new(None);
    async fn app(cx: Context) -> Result<Router, Infallible> {
        let told = TOLD.lock().unwrap().take().unwrap();
        let shutdown = cx.shutdown();
        assert!(!shutdown.is_draining());
        let also = told.clone();
        tokio::spawn(async move {
            shutdown.await;
            also.send("draining").unwrap();
        });
        let service = std::sync::Arc::new(Told(told));
        Ok(Router::new().route("/", get(async move || drop(service.clone()))))
    }
    let (told, hears) = mpsc::channel();
    *TOLD.lock().unwrap() = Some(told);
    let app = Fake::new().start(cohost_app::linked_descriptor(app, "drains\0", "1\0")).unwrap();

    app.drain();
    assert_eq!(hears.recv().unwrap(), "draining");
    assert_eq!(app.shutdown(), code::DONE);
    assert_eq!(hears.recv().unwrap(), "dropped");
}
