//! Behaviours 34 to 45: the same application file answers the same, whichever hosting model it runs under.

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn an_application_answers(model: Model) {
        let host = Setup::sample(model).start().await;
        let answer = host.get("/plaintext").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "Hello, World!");
        assert_eq!(host.client().http2().get("/plaintext").await.text(), "Hello, World!");
        assert!(host.stop().await.success());
    }
}
