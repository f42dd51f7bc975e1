//! The router without a host: what needs none is tested like any other axum application.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use sample_app::{Sample, Settings};
use tower::ServiceExt;

fn router() -> Router {
    sample_app::router(Sample::default())
}

async fn call(router: Router, request: Request<Body>) -> Response<Body> {
    router.oneshot(request).await.unwrap()
}

async fn get(path: &str) -> Response<Body> {
    call(router(), Request::get(path).body(Body::empty()).unwrap()).await
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn plaintext_is_a_constant() {
    let response = get("/plaintext").await;

    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(text(response).await, "Hello, World!");
}

#[tokio::test]
async fn json_is_a_constant() {
    let response = get("/json").await;

    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(text(response).await, r#"{"message":"Hello, World!"}"#);
}

#[tokio::test]
async fn the_index_page_has_the_greeting_and_no_markup_of_it() {
    let settings = Settings { greeting: Some("<b>{{base}} & \"you\"".to_owned()), file: None };
    let router = sample_app::router(Sample { settings, ..Sample::default() });

    let page = text(call(router, Request::get("/").body(Body::empty()).unwrap()).await).await;

    assert!(page.contains("<h1>&lt;b>{{base}} &amp; &quot;you&quot;</h1>"), "{page}");
    assert!(page.contains("<base href=\"/\">"), "{page}");
}

#[tokio::test]
async fn the_index_page_is_in_no_frame_of_others() {
    let answer = get("/").await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["content-security-policy"], "base-uri 'self'; frame-ancestors 'self'");
}

#[tokio::test]
async fn links_on_the_index_page_are_relative_to_the_path_base() {
    let page = text(get("/").await).await;

    assert!(page.contains("href=\"plaintext\""));
    for absolute in ["href=\"/p", "src=\"", "fetch('/", "//cdn", "https://"] {
        assert!(!page.contains(absolute), "{absolute}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_link_on_the_index_page_leads_somewhere() {
    let page = text(get("/").await).await;
    let links: Vec<_> =
        page.split("<li><a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();

    assert_eq!(links.len(), 14);
    // Without its host, the rest has nothing to say, or panics on purpose.
    for link in links.iter().filter(|link| !["file", "panic"].contains(link)) {
        let status = get(&format!("/{}", link.replace("&amp;", "&"))).await.status();
        assert_ne!(status, StatusCode::NOT_FOUND, "{link}");
    }
}

#[tokio::test]
async fn echo_sends_the_body_back_with_its_type() {
    let request =
        Request::post("/echo").header(header::CONTENT_TYPE, "text/x-poem").body(Body::from("a rose"));

    let response = call(router(), request.unwrap()).await;

    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/x-poem");
    assert_eq!(text(response).await, "a rose");
}

#[tokio::test]
async fn bytes_are_as_many_as_announced() {
    for n in [0, 1, 65_536, 65_537, 1_000_000] {
        let response = get(&format!("/bytes/{n}")).await;

        assert_eq!(response.headers()[header::CONTENT_LENGTH], n.to_string());
        assert_eq!(text(response).await.len(), n);
    }
}

#[tokio::test]
async fn upload_tells_size_and_hash() {
    // More than the limit of axum's that is switched off.
    let request = Request::post("/upload").body(Body::from(vec![0; 3_000_000])).unwrap();

    let body = text(call(router(), request).await).await;

    assert!(body.contains("\"size\":3000000"), "{body}");
    assert!(body.contains("35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn stream_sends_its_chunks() {
    assert_eq!(text(get("/stream?chunks=2&delay_ms=1000").await).await, "chunk 1\nchunk 2\n");
}

#[tokio::test(start_paused = true)]
async fn events_are_counted() {
    let response = get("/events?chunks=2").await;

    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(text(response).await, "data: 1\n\ndata: 2\n\n");
}

#[tokio::test(start_paused = true)]
async fn sleep_answers_in_the_end() {
    assert_eq!(text(get("/sleep/60000").await).await, "slept 60000 ms\n");
}

#[tokio::test]
async fn the_counter_outlives_requests() {
    let router = router();
    for expected in ["1\n", "2\n"] {
        let request = Request::get("/counter").body(Body::empty()).unwrap();
        assert_eq!(text(call(router.clone(), request).await).await, expected);
    }
}

#[tokio::test]
async fn a_web_socket_needs_an_upgrade() {
    assert_eq!(get("/ws").await.status(), StatusCode::BAD_REQUEST);
}
