//! Behaviours 34 and 52, row D8: certificates of clients, and sites that want different things of them.

use tokio::io::AsyncReadExt as _;

use crate::{
    both_models,
    host::{Handshake, Host, Issued, Issuer, Model, Secure, Setup, get_on_http2, library},
};

const SHOP: &str = "shop.example";

/// Who vouches for the host, who vouches for clients, and a client that is known.
pub(super) struct Cast {
    pub(super) host: Issuer,
    pub(super) clients: Issuer,
    pub(super) known: Issued,
}

impl Cast {
    pub(super) fn new() -> Self {
        let clients = Issuer::new();
        Self { host: Issuer::new(), known: clients.issue(&["client.example"]), clients }
    }

    pub(super) fn setup(&self, setup: Setup, wanted: &str) -> Setup {
        setup
            .secure(&self.host.issue(&[SHOP]))
            .file("clients.pem", &self.clients.pem())
            .site(&format!("client_ca = \"clients.pem\"\nclient_certificates = {wanted:?}"))
    }

    async fn start(&self, model: Model, wanted: &str) -> Host {
        self.setup(Setup::sample(model), wanted).start().await
    }

    pub(super) fn client(&self, host: &Host, own: Option<&Issued>) -> Secure {
        host.secure(&self.host, SHOP).speaking(&self.host, Handshake::Any, own)
    }
}

/// Why a client does not come in. With TLS 1.3 it hears so only after its own part of the handshake.
pub(super) async fn refusal(client: &Secure) -> String {
    match client.connect().await {
        Ok(mut stream) => stream.read(&mut [0]).await.expect_err("an alert").to_string(),
        Err(error) => error.to_string(),
    }
}

both_models! {
    async fn nobody_comes_in_without_a_certificate_where_it_is_required(model: Model) {
        let cast = Cast::new();
        let host = cast.start(model, "required").await;
        let refused = refusal(&cast.client(&host, None)).await;
        assert!(refused.contains("CertificateRequired"), "{refused}");
        let stranger = Issuer::new().issue(&["client.example"]);
        assert!(cast.client(&host, Some(&stranger)).try_get("/").await.is_err());
        let seen = cast.client(&host, Some(&cast.known)).get("/info").await.json();
        assert_eq!(seen["tls"]["client_certificates"], 1);
    }

    async fn a_certificate_that_is_optional_is_verified_all_the_same(model: Model) {
        let cast = Cast::new();
        let host = cast.start(model, "optional").await;
        let seen = cast.client(&host, None).get("/info").await.json();
        assert_eq!(seen["tls"]["client_certificates"], 0);
        let stranger = Issuer::new().issue(&["client.example"]);
        assert!(cast.client(&host, Some(&stranger)).try_get("/").await.is_err());
        let seen = cast.client(&host, Some(&cast.known)).get("/info").await.json();
        assert_eq!(seen["tls"]["client_certificates"], 1);
    }

    async fn a_client_cannot_claim_a_certificate_by_a_field(model: Model) {
        let host = Setup::sample(model).start().await;
        let mut wire = host.wire().await;
        wire.send(
            "GET /info HTTP/1.1\r\nHost: a\r\nClient-Cert: :AAAA:\r\nClient_Cert: :AAAA:\r\nclient-cert-chain: :AAAA:\r\n\
             Client-Certainty: high\r\n\r\n",
        )
        .await;
        let seen = wire.reply().await.json();
        assert_eq!(seen["headers"], serde_json::json!([["host", "a"], ["client-certainty", "high"]]));
    }

    async fn a_request_is_not_let_in_on_a_connection_that_was_made_on_other_terms(model: Model) {
        let cast = Cast::new();
        let both = cast.host.issue(&["open.example", "closed.example"]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let library = library("sample_app");
        let closed = format!(
            "[[site]]\nname = \"closed\"\nbindings = [\"https://closed.example:{port}\"]\n\
             tls = {{ certificate = \"cert.pem\", key = \"key.pem\", client_ca = \"clients.pem\", \
             client_certificates = \"required\" }}\n\
             [[site.application]]\nlibrary = {library:?}\nhosting_model = {:?}\n",
            model.as_str()
        );
        let host = Setup::sample(model)
            .secure(&both)
            .binding(&format!("https://open.example:{port}"))
            .file("clients.pem", &cast.clients.pem())
            .more(&closed)
            .start_named(port)
            .await;
        let open = host.secure(&cast.host, "open.example");
        let mut sender = open.http2().await;
        assert_eq!(get_on_http2(&mut sender, "open.example", "/").await.status(), 200);
        let refused = get_on_http2(&mut sender, "closed.example", "/").await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["cohost-failure"]), (421, &"misdirected".parse().unwrap()));
        let known = open.named("closed.example").speaking(&cast.host, Handshake::Any, Some(&cast.known));
        let mut sender = known.http2().await;
        assert_eq!(get_on_http2(&mut sender, "closed.example", "/").await.status(), 200);
        assert_eq!(get_on_http2(&mut sender, "open.example", "/").await.status(), 421);
    }

    async fn a_request_is_not_let_in_on_a_connection_of_an_older_tls_than_its_site_wants(model: Model) {
        let issuer = Issuer::new();
        let both = issuer.issue(&["old.example", "new.example"]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let new = format!(
            "[[site]]\nname = \"new\"\nbindings = [\"https://new.example:{port}\"]\n\
             tls = {{ certificate = \"cert.pem\", key = \"key.pem\", min_version = \"1.3\" }}\n\
             [[site.application]]\nlibrary = {:?}\nhosting_model = {:?}\n",
            library("sample_app"),
            model.as_str()
        );
        let binding = format!("https://old.example:{port}");
        let host = Setup::sample(model).secure(&both).binding(&binding).more(&new).start_named(port).await;
        for (versions, status) in [(Handshake::Tls12, 421), (Handshake::Any, 200)] {
            let client = host.secure(&issuer, "old.example").speaking(&issuer, versions, None);
            let mut sender = client.http2().await;
            assert_eq!(get_on_http2(&mut sender, "old.example", "/").await.status(), 200, "{versions:?}");
            assert_eq!(get_on_http2(&mut sender, "new.example", "/").await.status(), status, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_program_is_told_the_certificate_by_fields() {
    let cast = Cast::new();
    let echo = format!("{}/tests/programs/echo.py", env!("CARGO_MANIFEST_DIR"));
    let host = cast.setup(Setup::command(&["python3", &echo]), "required").start().await;
    let told = cast.client(&host, Some(&cast.known)).get("/").await.json();
    let field = |name: &str| {
        let fields = told["fields"].as_array().unwrap();
        fields.iter().find(|field| field[0] == name).map(|field| field[1].as_str().unwrap().to_owned())
    };
    let der: String = cast.known.certificate.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(field("client-cert"), Some(format!(":{der}:")), "{told}");
    assert_eq!(field("client-cert-chain"), None);
    assert_eq!(field("ms-aspnetcore-clientcert"), Some(der));
}

#[tokio::test]
async fn a_site_that_requires_certificates_lets_nobody_in_without_tls() {
    let cast = Cast::new();
    let setup = cast.setup(Setup::sample(Model::InProcess), "required");
    let text = setup.text();
    let host = setup.start().await;
    let both = text.replace("\"https://127.0.0.1:0\"", "\"https://127.0.0.1:0\", \"http://127.0.0.2:0\"");
    assert_ne!(both, text);
    std::fs::write(host.directory.path().join("cohost.toml"), both).unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    let addresses = host.tells().await["host"]["addresses"].to_string();
    let clear = addresses
        .split('"')
        .find_map(|text| text.strip_prefix("http://"))
        .unwrap_or_else(|| panic!("{addresses}"));
    let answer = crate::host::Client::new(clear.parse().unwrap()).get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (403, "certificate_required"));
}

#[tokio::test]
async fn without_those_who_vouch_for_clients_nobody_comes_in() {
    let cast = Cast::new();
    let host =
        cast.setup(Setup::sample(Model::InProcess), "optional").file("clients.pem", "nobody").start().await;
    let told = host.log.message("certificate cannot be used").await;
    assert!(told["why"].as_str().unwrap().contains("clients.pem has no certificate"), "{told}");
    assert!(cast.client(&host, None).connect().await.is_err());
}

#[tokio::test]
async fn a_session_that_was_begun_on_other_terms_is_not_gone_on_with() {
    let cast = Cast::new();
    let setup = cast.setup(Setup::sample(Model::InProcess), "optional");
    let text = setup.text();
    let host = setup.start().await;
    let client = cast.client(&host, None);
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
    }
    std::fs::write(host.directory.path().join("cohost.toml"), text.replace("\"optional\"", "\"required\""))
        .unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    // With a ticket from before it would come in.
    let refused = refusal(&client).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
}
