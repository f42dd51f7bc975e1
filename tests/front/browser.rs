//! A browser as the client: what people see of an application.

use serde_json::json;

use crate::{
    both_models,
    host::{Browser, Issuer, Model, Setup},
};

const SHOP: &str = "shop.example";

/// Waits until the page of the sample application has found out everything that it shows, and tells that.
const SHOWN: &str = "new Promise(done => {
    const look = () => {
        const shown = [...document.querySelectorAll('#shown li')];
        const states = shown.map(one => [one.id, one.dataset.state, one.textContent]);
        if (document.readyState === 'complete' && states.every(state => state[1] !== 'waiting')) done(states);
    };
    document.addEventListener('readystatechange', look);
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
    look();
})";

both_models! {
    async fn a_browser_gets_the_page_its_web_socket_and_its_events_over_http2(model: Model) {
        let issued = Issuer::new().issue(&[SHOP]);
        let host = Setup::sample(model).secure(&issued).start_preloaded().await;
        let mut browser = Browser::start(SHOP, &issued).await;

        browser.open(&format!("https://{SHOP}:{}/", host.address.port())).await;

        let expected = json!([
            ["protocol", "good", "this page came over h2"],
            ["socket", "good", "a WebSocket says it back: Hello"],
            ["source", "good", "server-sent events: 3 of 3"],
        ]);
        assert_eq!(browser.evaluate(SHOWN).await, expected);
        browser.picture([env!("CARGO_TARGET_TMPDIR"), "/browser.png"].concat().as_ref()).await;
        // The WebSocket was no connection of its own.
        for (path, method) in [("/", "GET"), ("/ws", "CONNECT"), ("/events", "GET")] {
            let of_path = |event: &serde_json::Value| event["target"] == "cohost::access" && event["path"] == path;
            let record = host.log.wait(of_path).await;
            let how = (record["method"].as_str(), record["version"].as_str(), record["tls"].as_str());
            assert_eq!(how, (Some(method), Some("HTTP/2.0"), Some("1.3")), "{record}");
        }
        assert!(host.stop().await.success());
    }
}
