//! Hosts and applications of different versions of the contract: which pairs work, and what is said of those that
//! do not.

use std::{path::PathBuf, process::Command};

use crate::{
    both_models,
    host::{HELLO, Model, Setup, Workshop},
};

// ---- older applications

both_models! {
    async fn an_application_that_knows_fewer_entries_is_served(model: Model) {
        let workshop = Workshop::new();
        for last in ["event", "drain"] {
            serves(model, &older(&workshop, last)).await;
        }
    }

    async fn an_application_that_cannot_handle_requests_is_refused(model: Model) {
        let workshop = Workshop::new();
        let said = refusal(model, &older(&workshop, "handle")).await;
        assert!(said.contains("is smaller than any descriptor"), "{said}");
    }
}

/// An application built with a header in which the descriptor ended before the field `end`.
///
/// What lies behind its descriptor is no function: who looks there crashes.
fn older(workshop: &Workshop, end: &str) -> PathBuf {
    let source = format!(
        "#define cohost_app_v1 newer\n{HELLO}#undef cohost_app_v1\n\
         #include <string.h>\n\
         static struct {{ cohost_app app; uintptr_t behind[4]; }} older;\n\
         extern COHOST_PUBLIC __typeof__(older) cohost_app_v1 __attribute__((alias(\"older\")));\n\
         __attribute__((constructor)) static void make(void) {{\n\
           memset(&older, 0x41, sizeof older);\n\
           memcpy(&older, &newer, offsetof(cohost_app, {end}));\n\
           older.app.size = offsetof(cohost_app, {end});\n\
         }}\n"
    );
    workshop.library(&format!("libuntil_{end}.so"), &source, &[])
}

// ---- newer applications

both_models! {
    async fn a_newer_application_that_can_live_with_an_older_host_is_served(model: Model) {
        let workshop = Workshop::new();
        let source = "
            #define cohost_app_v1 known
            #include \"cohost.h\"
            #undef COHOST_ABI_MINOR
            #define COHOST_ABI_MINOR 7
            #include \"hello.c\"
            #undef cohost_app_v1
            static struct { cohost_app app; void *more[8]; } newer;
            extern COHOST_PUBLIC __typeof__(newer) cohost_app_v1 __attribute__((alias(\"newer\")));
            __attribute__((constructor)) static void make(void) {
              newer.app = known;
              newer.app.size = sizeof newer;
              for (int i = 0; i < 8; i++) newer.more[i] = make;
            }
        ";
        serves(model, &workshop.library("libnewer.so", source, &[])).await;
    }

    async fn an_application_that_needs_a_newer_host_is_refused_with_both_versions(model: Model) {
        let workshop = Workshop::new();
        for when in [When::Compiled, When::Constructed] {
            let said = refusal(model, &changed(&workshop, "min_host_minor", "99", when)).await;
            assert!(said.contains(TOO_OLD), "{said}");
        }
        let said = refusal(model, &with_note(&workshop, "COHOST_NOTE_FOR(99, 0, 0)", "late.min_host_minor = 99;")).await;
        assert!(said.contains(TOO_OLD), "{said}");
    }

    async fn an_application_that_needs_what_this_host_does_not_offer_is_refused(model: Model) {
        let workshop = Workshop::new();
        for when in [When::Compiled, When::Constructed] {
            let said = refusal(model, &changed(&workshop, "requires_features", "1ull << 40", when)).await;
            assert!(said.contains("features that this host does not offer: unknown (0x10000000000)"), "{said}");
        }
        let affine = changed(&workshop, "requires_features", "COHOST_FEATURE_AFFINE_THREADS", When::Compiled);
        let said = refusal(model, &affine).await;
        assert!(said.contains("affine threads"), "{said}");
    }

    async fn an_application_that_misses_something_in_its_host_says_what(model: Model) {
        let workshop = Workshop::new();
        let init = "
            static cohost_code look(const cohost_host *host, const cohost_init *about, cohost_err *err, void **out) {
              (void)host, (void)about, (void)out;
              memcpy(err->buf, \"no table of teapots\", err->len = 19);
              return COHOST_E_ABI;
            }
        ";
        let source = format!("{WITHOUT_NOTE}#include <string.h>\n{init}\n{}", late("late.init = look;"));
        let said = refusal(model, &workshop.library("libteapot.so", &source, &[])).await;
        assert!(said.contains("cannot live with this host: no table of teapots; update the host"), "{said}");
    }

    async fn an_application_whose_note_says_something_else_is_refused(model: Model) {
        let workshop = Workshop::new();
        let said = refusal(model, &with_note(&workshop, "COHOST_NOTE_FOR(0, COHOST_APP_RUNTIME, 0)", "")).await;
        assert!(said.contains("its note says flags 8, its descriptor 0"), "{said}");
    }

    async fn an_application_whose_note_names_its_oldest_host_is_served_by_that_one(model: Model) {
        let workshop = Workshop::new();
        serves(model, &with_note(&workshop, "COHOST_NOTE_FOR(COHOST_ABI_MINOR, 0, 0)", "")).await;
    }
}

/// When an application's descriptor gets its values.
#[derive(Clone, Copy)]
enum When {
    /// They are in the file, where the host reads them before it loads anything.
    Compiled,
    /// A constructor of the library writes them.
    Constructed,
}

/// The smallest application, without a note and with one field that says something else.
fn changed(workshop: &Workshop, field: &str, value: &str, when: When) -> PathBuf {
    let rest = match when {
        When::Compiled => format!(
            "COHOST_PUBLIC const cohost_app cohost_app_v1 = {{ .magic = COHOST_MAGIC, .size = sizeof(cohost_app),\n\
             .major = 1, .init = init, .handle = handle, .{field} = {value} }};\n"
        ),
        When::Constructed => late(&format!("late.{field} = {value};")),
    };
    workshop.library("libchanged.so", &format!("{WITHOUT_NOTE}{rest}"), &[])
}

const TOO_OLD: &str = "needs a host of ABI 1.99 or later, this host speaks ABI 1.0; update the host, or build it for an \
                       older one";

/// The smallest application with another note, and a descriptor that says the same late.
fn with_note(workshop: &Workshop, note: &str, change: &str) -> PathBuf {
    workshop.library("libnoted.so", &format!("{WITHOUT_NOTE}{note};\n{}", late(change)), &[])
}

/// A descriptor that a constructor fills, and then changes.
fn late(change: &str) -> String {
    format!(
        "static cohost_app late;\n\
         extern COHOST_PUBLIC const cohost_app cohost_app_v1 __attribute__((alias(\"late\")));\n\
         __attribute__((constructor)) static void make(void) {{ late = known; {change} }}\n"
    )
}

/// The smallest application, without a note and with its descriptor under another name.
const WITHOUT_NOTE: &str = "
#include \"cohost.h\"
#undef COHOST_NOTE
#define COHOST_NOTE(flags, requires)
#define cohost_app_v1 known
#include \"hello.c\"
#undef cohost_app_v1
";

async fn serves(model: Model, library: &std::path::Path) {
    let host = Setup::library(library, model).start().await;
    let answer = host.get("/x").await;
    assert_eq!(answer.text(), "hello from C: /x\n");
    // Its end is where entries that it does not have would be called.
    assert!(host.stop().await.success());
}

async fn refusal(model: Model, library: &std::path::Path) -> String {
    let host = Setup::library(library, model).start().await;
    let answer = host.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.header("cohost-failure")), (503, "abi_mismatch"));
    let event = host.log.message("application did not start").await;
    assert!(host.stop().await.success());
    event["detail"].as_str().unwrap().to_owned()
}

// ---- older and newer hosts, as an application sees them

#[test]
fn an_application_can_ask_what_its_host_has() {
    let workshop = Workshop::new();
    let source = "
        #include \"cohost.h\"
        static int has_all(const cohost_host *host) {
          return COHOST_HAS(host, cohost_host, respond) && COHOST_HAS(host, cohost_host, set_ready) &&
                 COHOST_HAS(host, cohost_host, query);
        }
        int main(void) {
          cohost_host host = { .size = sizeof host };
          if (!has_all(&host)) return 1;
          host.size = sizeof host + 64;                        /* a newer host */
          if (!has_all(&host)) return 2;
          host.size = offsetof(cohost_host, query);            /* an older one */
          if (COHOST_HAS(&host, cohost_host, query)) return 3;
          if (!COHOST_HAS(&host, cohost_host, set_ready)) return 4;
          host.size = offsetof(cohost_host, query) + 4;        /* half a field is none */
          if (COHOST_HAS(&host, cohost_host, query)) return 5;
          cohost_head head = { .size = offsetof(cohost_head, body) };
          if (COHOST_HAS(&head, cohost_head, body) || !COHOST_HAS(&head, cohost_head, conn)) return 6;
          return 0;
        }
    ";
    let program = workshop.compile("ask", source, &[]);
    assert_eq!(Command::new(program).status().unwrap().code(), Some(0));
}
