//! Row D7: fields by which some servers let a client say what it asks for, or what it gets.

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn fields_that_steer_other_servers_steer_nothing_here(model: Model) {
        let host = Setup::sample(model).start_preloaded().await;
        for field in ["X-Original-URL: /info", "X-Rewrite-URL: /info", "X-Sendfile: /etc/passwd",
            "X-Accel-Redirect: /info", "X-HTTP-Method-Override: DELETE", "X-Forwarded-Prefix: /info"]
        {
            let request = format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{field}\r\nConnection: close\r\n\r\n");
            let answer = host.exchange(&request).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("Hello, World!"), "{field}: {answer}");
        }
    }
}
