//! Faults of keys that mean something together only.

use super::faults::{before_the_site, in_application};
use crate::{
    config::Artifact,
    front::{Files, Order, Pattern},
};

#[test]
fn files_for_what_is_printed_need_to_be_asked_for() {
    let without = "has no effect without output = \"files\"; leave one of them out";
    assert_eq!(
        in_application("output_size = '1MB'"),
        format!("6:15: site.shop.application./.output_size: {without}")
    );
    assert_eq!(before_the_site("log.output = 'file'").get(..5), Some("1:14:"));
    assert_eq!(before_the_site("log.output_files = 0"), "1:20: log.output_files: must be at least 1 (is 0)");
}

#[test]
fn an_application_is_code_or_files() {
    let refused = in_application("static = 'public'");
    assert!(
        refused.starts_with("6:10: site.shop.application./.static: an application is code or files"),
        "{refused}"
    );
    assert_eq!(
        in_application("static = { default_documents = [] }"),
        "6:10: site.shop.application./.static.root: is missing; say in which folder the files are"
    );
    assert_eq!(
        before_the_site(
            "[[site]]\nname = 'a'\nbindings = ['http://a']\napplication = [{ static = 'x', preload = true }]"
        ),
        "4:42: site.a.application./.preload: is for applications that run; leave it out for files"
    );
}

#[test]
fn all_that_is_said_of_files_is_used() {
    let config = super::parse(include_str!("everything.toml")).unwrap();
    let files = config.sites[0].applications[0].front.files.as_ref().unwrap();
    let value = http::HeaderValue::from_static;
    let mut expected = Files::new("/etc/shop/public");
    expected.order = Order::Application;
    expected.default_documents = vec!["home.html".to_owned()];
    expected.fallback = Some("/home.html".to_owned());
    expected.precompressed = true;
    expected.types = [("wasm".to_owned(), value("application/wasm"))].into();
    // In the order in which they are written.
    expected.cache_control =
        vec![(Pattern::new("/z*"), value("no-store")), (Pattern::new("*"), value("no-cache"))];
    expected.hidden = true;
    expected.memory = 0;
    expected.private.clone_from(&files.private);
    assert_eq!(*files, expected);
}

#[test]
fn the_hosts_own_files_are_not_for_sending() {
    let site = "site = [{ name = 'a', bindings = ['https://a'], tls = { certificate = 'c.pem', key = '/k.pem' }, \
        application = [{ static = '../www' }, { path = '/b', library = 'lib/b.so' }, \
        { path = '/c', library = 'lib/b.so', auth = { basic = { users = 'users' } } }] }]";
    let folder = std::path::Path::new("/srv/shop");
    let config = crate::config::parse(site, &folder.join("cohost.toml"), &|_| None).unwrap();
    let Artifact::Files(files) = &config.sites[0].applications[0].artifact else { panic!("they are files") };
    // Wherever the folder of the files is, and however that is written.
    let private = ["/k.pem", "cohost.toml", "lib/b.so", "logs", "users"].map(|path| folder.join(path));
    assert_eq!(files.private, private);
}

#[test]
fn all_that_stands_before_code_stands_before_files() {
    let site = "site = [{ name = 'a', bindings = ['http://a'], application = [{ static = '.', \
        ip = { deny = ['10.0.0.1'] }, headers = { remove = ['server'] } }] }]";
    let front = &super::parse(site).unwrap().sites[0].applications[0].front;
    assert!(front.ip.is_some() && front.headers.is_some());
}

#[test]
fn files_alone_have_nobody_behind_them() {
    let refused = before_the_site(
        "[[site]]\nname = 'a'\nbindings = ['http://a']\napplication = [{ static = { root = 'x', order = 'application' } }]",
    );
    assert!(refused.contains("static.order: there is no application behind"), "{refused}");
}

#[test]
fn a_queue_needs_a_limit_to_wait_for() {
    assert_eq!(
        in_application("request_queue = 5"),
        "6:17: site.shop.application./.request_queue: has no effect without max_concurrent_requests; leave it out"
    );
}

#[test]
fn what_holds_for_a_process_needs_one() {
    let refused = in_application("limits = { memory = '1GB' }");
    assert!(
        refused.starts_with("6:10: site.shop.application./.limits: would hold for the worker"),
        "{refused}"
    );
    let hosted = |written: &str| in_application(&format!("hosting_model = 'outofprocess'\n{written}"));
    assert!(hosted("umask = '9'").contains("three octal digits"));
    assert_eq!(
        hosted("limits = { memroy = 1 }"),
        "7:12: site.shop.application./.limits.memroy: unknown key; did you mean memory?"
    );
    assert_eq!(
        hosted("limits = { cpu_max = 0 }"),
        "7:22: site.shop.application./.limits.cpu_max: must be a number of processors from 0.01 to 65536, as 1.5"
    );
}

#[test]
fn a_limit_on_memory_is_for_processes_that_have_it_for_themselves() {
    assert_eq!(
        in_application("recycle = { memory = '1GB' }"),
        "6:22: site.shop.application./.recycle.memory: would be the memory of the worker, which an application in process \
         shares with others; recycle_memory in [server] replaces the whole worker"
    );
    assert_eq!(
        in_application("idle_stop = '20m'"),
        "6:13: site.shop.application./.idle_stop: is for applications out of process; one in process stays in the worker, so \
         leave it out"
    );
    assert_eq!(
        in_application("recycle = { schedule = ['3:00'] }"),
        "6:25: site.shop.application./.recycle.schedule: must be hours and minutes, from 00:00 to 23:59 (is \"3:00\")"
    );
}
