//! Behaviour 57: which clients may come in, by their address.

use std::net::Ipv4Addr;

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn who_is_denied_gets_403_before_the_application_starts(model: Model) {
        let denied = format!("deny = [\"{}\"]", Ipv4Addr::LOCALHOST);
        let host = Setup::sample(model).site(&format!("[site.ip]\n{denied}")).start().await;
        let answer = host.client().get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (403, "address_denied"));
        assert!(host.log.of("application started").is_empty());
    }

    async fn an_application_lets_in_whom_another_of_the_site_does_not(model: Model) {
        let host = Setup::sample(model)
            .more("[site.application.ip]\nallow = [\"192.0.2.0/24\"]")
            .beside(&crate::host::library("sample_app"), model)
            .start()
            .await;
        assert_eq!(host.client().get("/").await.status, 403);
        assert_eq!(host.client().get("/healthy/").await.status, 200);
    }

    async fn rules_on_trial_refuse_nobody_and_name_whom_they_would(model: Model) {
        let site = "[site.ip]\nallow = [\"192.0.2.0/24\"]\nlog_only = true";
        let host = Setup::sample(model).site(site).start().await;
        assert_eq!(host.client().get("/").await.status, 200);
        let told = host.log.message("would be refused").await;
        assert_eq!((told["code"].as_str(), told["client"].as_str()), (Some("address_denied"), Some("127.0.0.1")));
    }
}
