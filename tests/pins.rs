//! Behaviour 26, the half that is about bytes: what runs is a copy, whole, whatever is written to the file meanwhile.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::mpsc::RecvTimeoutError, time::Duration};

use cohost::{
    Application, HostingModel,
    dispatcher::in_process::{Ended, Pins},
    supervisor::Runner,
};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use crate::{
    both_models,
    host::{Model, Workshop, program},
};

#[test]
fn a_pin_is_named_by_its_content_and_stays_as_it_is() {
    let (workshop, place) = (Workshop::new(), tempfile::tempdir().unwrap());
    let pins = Pins::new(place.path()).unwrap();
    let library = workshop.greeter("libshop.so", "one");
    let first = pins.pin(&library).unwrap();
    let bytes = fs::read(&library).unwrap();
    // Written anew, as `cp` does it.
    fs::write(&library, &bytes).unwrap();
    assert_eq!(pins.pin(&library).unwrap(), first);
    workshop.greeter("libshop.so", "two");
    let second = pins.pin(&library).unwrap();
    assert_ne!(second, first);
    assert_eq!(fs::read(&first).unwrap(), bytes);
    assert_eq!((first.file_name(), mode(&first)), (library.file_name(), 0o444));
    assert_eq!(mode(Path::new(&entries(place.path())[0])), 0o711);

    pins.keep(|pin| pin == second);
    assert!(!first.exists() && second.exists());
    // As the next program in this process finds it.
    let again = Pins::with(&second, Path::new("/nowhere")).unwrap();
    assert_eq!(again.pin(&library).unwrap(), second);
    drop((pins, again));
    assert_eq!(entries(place.path()).len(), 0);
}

#[test]
fn what_cannot_be_loaded_is_not_pinned_and_is_told_apart_by_content() {
    let (workshop, place) = (Workshop::new(), tempfile::tempdir().unwrap());
    let pins = Pins::new(place.path()).unwrap();
    let missing = pins.pin(&workshop.path("libshop.so")).unwrap_err();
    assert_eq!((missing.error.code().as_str(), missing.content), ("file_missing", None));
    let whole = fs::read(workshop.hello()).unwrap();
    let mut contents = Vec::new();
    for length in [whole.len() / 2, whole.len() / 2, whole.len() - 1] {
        let cut = workshop.file("libshop.so", &whole[..length]);
        let refused = pins.pin(&cut).unwrap_err();
        assert_eq!(refused.error.code().as_str(), "library_truncated");
        assert!(refused.to_string().contains(cut.to_str().unwrap()), "{refused}");
        contents.push(refused.content.unwrap());
    }
    assert!(contents[0] == contents[1] && contents[1] != contents[2]);
    let store = &entries(place.path())[0];
    assert_eq!(entries(Path::new(store)), Vec::<String>::new());
}

#[test]
fn a_library_that_is_being_written_is_pinned_whole_or_not_at_all() {
    let (workshop, place) = (Workshop::new(), tempfile::tempdir().unwrap());
    let pins = Pins::new(place.path()).unwrap();
    let versions = ["one", "two"].map(|text| fs::read(workshop.greeter("libshop.so", text)).unwrap());
    let library = workshop.path("libshop.so");
    let (done, not_done) = std::sync::mpsc::channel::<()>();
    let mut pinned = 0;
    std::thread::scope(|scope| {
        let (versions, library) = (&versions, &library);
        scope.spawn(move || {
            for version in versions.iter().cycle() {
                fs::write(library, version).unwrap();
                // Not all the time, or there would be nothing to pin.
                if not_done.recv_timeout(Duration::from_millis(30)) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        for _ in 0..20 {
            if let Ok(pin) = pins.pin(library) {
                pinned += 1;
                assert!(versions.contains(&fs::read(pin).unwrap()), "neither one nor the other");
            }
        }
        drop(done);
    });
    pins.pin(&library).unwrap_or_else(|error| panic!("{error}; {pinned} before"));
}

both_models! {
    async fn an_application_runs_what_is_pinned_whatever_lies_at_its_path(model: Model) {
        let (workshop, place) = (Workshop::new(), tempfile::tempdir().unwrap());
        let pins = Pins::new(place.path()).unwrap();
        let library = workshop.greeter("libshop.so", "one");
        let pin = pins.pin(&library).unwrap();
        let described = || Application::builder()
            .library(&library)
            .pinned(&pin)
            .hosting_model(match model {
                Model::InProcess => HostingModel::InProcess,
                Model::OutOfProcess => HostingModel::OutOfProcess,
            })
            .runner(Runner { program: program(), directory: std::env::temp_dir() });
        fs::write(&library, "half of the next one").unwrap();
        // Two of one file, which the loader would take for the same.
        for _ in 0..2 {
            let app = described().build().unwrap();
            assert_eq!(answer(&app).await, "one: /x\n");
            assert_eq!(app.stop().await, Ended::Gracefully);
        }
        pins.keep(|_| false);
        let failure = described().build().unwrap().start().await.unwrap_err();
        assert_eq!(failure.code.as_str(), "file_missing");
    }
}

async fn answer(app: &Application) -> String {
    let request = http::Request::get("/x").header("host", "x").body(cohost::Body::empty()).unwrap();
    let answer = app.clone().call(request).await.unwrap();
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn entries(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect()
}
