//! Which of its libraries a library will find.

use super::{super::default_directories, Claims, Workshop, application, examine};

const NEEDS: &[&str] = &["-L.", "-ldep", "-Wl,-rpath,$ORIGIN/lib"];

fn source() -> String {
    let call = "extern int dep(void); __attribute__((used)) static int call(void) { return dep(); }";
    application(&Claims::default(), &Claims::default(), call)
}

#[test]
fn a_dependency_is_found_beside_the_library_or_not_at_all() {
    let workshop = Workshop::new();
    let dependency = workshop.cc("libdep.so", "int dep(void) { return 1; }", &["-shared"]);
    let library = examine(&workshop.library(&source(), NEEDS)).unwrap();
    assert_eq!(library.missing_dependencies(&default_directories()), ["libdep.so"]);

    std::fs::create_dir(workshop.path("lib")).unwrap();
    std::fs::copy(dependency, workshop.path("lib/libdep.so")).unwrap();
    assert_eq!(library.missing_dependencies(&default_directories()), <[&str; 0]>::default());
    assert_eq!(library.dependencies(&[])[0].found, Some(workshop.path("lib/libdep.so")));
}

#[test]
fn a_dependency_for_another_machine_does_not_count() {
    let workshop = Workshop::new();
    let dependency = workshop.cc("libdep.so", "int dep(void) { return 1; }", &["-shared"]);
    let library = examine(&workshop.library(&source(), NEEDS)).unwrap();
    let here = [workshop.0.path().to_owned()];
    assert!(!library.missing_dependencies(&here).contains(&"libdep.so".to_owned()));

    let mut other = std::fs::read(&dependency).unwrap();
    other[18] = 8;
    std::fs::write(dependency, other).unwrap();
    assert!(library.missing_dependencies(&here).contains(&"libdep.so".to_owned()));
}
