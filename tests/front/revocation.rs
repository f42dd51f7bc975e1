//! Behaviour 52: clients whose certificates were revoked.

use std::process::Command;

use crate::{
    both_models,
    front::clients::{Cast, refusal},
    host::{Host, Issued, Model, PATIENCE, Secure, Setup, get_on_http2, program},
};

/// The serial number of a client that is revoked sooner or later, and of one that nobody has.
const THEIRS: u64 = 7;
const NOBODYS: u64 = 1;

/// A client that can be revoked.
fn another(cast: &Cast) -> Issued {
    cast.clients.issue_with(&["other.example"], |params| params.serial_number = Some(THEIRS.into()))
}

/// A host that has a list of whom it does not let in.
async fn host(cast: &Cast, setup: Setup, list: &str) -> Host {
    cast.setup(setup, "required").file("revoked.pem", list).site("client_crl = \"revoked.pem\"").start().await
}

both_models! {
    async fn a_client_that_was_revoked_does_not_come_in(model: Model) {
        let cast = Cast::new();
        let host = host(&cast, Setup::sample(model), &cast.clients.revoking(&[THEIRS], 2099)).await;
        assert_eq!(cast.client(&host, Some(&cast.known)).get("/").await.status, 200);
        let refused = refusal(&cast.client(&host, Some(&another(&cast)))).await;
        assert!(refused.contains("CertificateRevoked"), "{refused}");
    }
}

/// Waits until a client is refused.
async fn out(client: &Secure) -> String {
    let refusing = async {
        // On a connection from just before, it is misdirected.
        while let Ok(answer) = client.try_get("/").await {
            assert!(matches!(answer.status.as_u16(), 200 | 421), "{}", answer.status);
        }
        refusal(client).await
    };
    tokio::time::timeout(PATIENCE, refusing).await.expect("refused in time")
}

#[tokio::test]
async fn who_is_revoked_while_the_host_serves_is_out_at_once() {
    let cast = Cast::new();
    let setup = Setup::sample(Model::InProcess).server("watch = true");
    let host = host(&cast, setup, &cast.clients.revoking(&[NOBODYS], 2099)).await;
    let file = host.directory.path().join("revoked.pem");
    let (other, known) = (another(&cast), cast.client(&host, Some(&cast.known)));
    let revoked = cast.client(&host, Some(&other));
    // With a session that could be resumed, and with a connection that is open.
    assert_eq!(revoked.get("/").await.status, 200);
    let mut kept = revoked.http2().await;
    std::fs::write(&file, cast.clients.revoking(&[NOBODYS, THEIRS], 2099)).unwrap();
    let refused = out(&revoked).await;
    assert!(refused.contains("CertificateRevoked"), "{refused}");
    assert_eq!(get_on_http2(&mut kept, "shop.example", "/").await.status(), 421);
    assert_eq!(known.get("/").await.status, 200);

    // A file that is none leaves the list from before.
    let mut kept = known.http2().await;
    std::fs::write(&file, "nobody").unwrap();
    let told = host.log.message("certificate cannot be used; the one before is presented further").await;
    assert!(told["why"].as_str().unwrap().contains("revoked.pem has no revocation list in PEM"), "{told}");
    assert!(revoked.try_get("/").await.is_err());
    // Nor does one that says the same disturb those who are there.
    std::fs::write(&file, cast.clients.revoking(&[NOBODYS, THEIRS], 2098)).unwrap();
    assert_eq!(host.operator(&["reload"]).await.code, 0);
    assert_eq!(get_on_http2(&mut kept, "shop.example", "/").await.status(), 200);
}

#[tokio::test]
async fn without_a_list_that_can_be_read_nobody_comes_in() {
    let cast = Cast::new();
    let host = host(&cast, Setup::sample(Model::InProcess), "").await;
    host.log.message("certificate cannot be used").await;
    assert!(cast.client(&host, Some(&cast.known)).connect().await.is_err());
}

#[tokio::test]
async fn a_client_of_whom_no_list_tells_does_not_come_in() {
    let cast = Cast::new();
    // That of another authority.
    let host = host(&cast, Setup::sample(Model::InProcess), &cast.host.revoking(&[NOBODYS], 2099)).await;
    assert!(cast.client(&host, Some(&cast.known)).try_get("/").await.is_err());
}

#[test]
fn the_check_says_what_is_wrong_with_a_list() {
    let cast = Cast::new();
    let check = |list: &str| {
        let setup =
            cast.setup(Setup::sample(Model::InProcess), "optional").site("client_crl = \"revoked.pem\"");
        let workshop = crate::host::Workshop::new();
        let issued = cast.host.issue(&["shop.example"]);
        for (name, content) in [
            ("cert.pem", &*issued.certificate),
            ("key.pem", &issued.key),
            ("clients.pem", &cast.clients.pem()),
            ("revoked.pem", list),
            ("cohost.toml", &setup.text()),
        ] {
            workshop.file(name, content);
        }
        let output = Command::new(program()).arg("check").arg(workshop.path("cohost.toml")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&cast.clients.revoking(&[THEIRS], 2099));
    assert!(!said.contains("revoked.pem"), "{said}");
    let said = check(&cast.clients.revoking(&[THEIRS], 2021));
    assert!(
        said.contains("warning: the revocation list in ") && said.contains("should have been renewed"),
        "{said}"
    );
    let said = check(&cast.clients.pem());
    assert!(said.contains("revoked.pem has no revocation list in PEM: it needs a block"), "{said}");
}
