//! Texts of a configuration. In: any text, in place of each value that is one. Never: a panic, or a fault outside of the
//! file.
#![no_main]

use std::path::Path;

use cohost::config::parse;
use libfuzzer_sys::fuzz_target;

/// Where the text is put in: everything that stands in quotes.
const TABLES: [&str; 4] = [
    "[log]\nlevel = 'X'\nformat = 'X'\noutput = 'X'\noutput_size = 'X'\noutput_age = 'X'\n\
     [server]\nthreads = 'X'\nheader_timeout = 'X'\nmin_body_rate = 'X'\nmax_header_size = 'X'\nrecycle_memory = 'X'\n\
     trusted_proxies = ['X']\ntrusted_fields = 'X'\nerror_page = 'X'\n\
     [[site]]\nname = 'X'\nbindings = ['X']\ncanonical_host = 'X'\n[site.tls]\ncertificate = 'X'\nkey = 'X'\n\
     min_version = 'X'\nclient_certificates = 'X'\nclient_ca = 'X'\n",
    "[[site]]\nname = 'a'\nbindings = ['http://*']\n[site.ip]\nallow = ['X']\ndeny = ['X']\n\
     [site.headers]\nremove = ['X']\nset = { x = 'X' }\nsecurity = 'X'\n[site.https]\nredirect = 'X'\nhsts = 'X'\n\
     [[site.limit]]\nkey = 'X'\nrate = 'X'\n[site.cors]\norigins = ['X']\nmethods = ['X']\nheaders = ['X']\nmax_age = 'X'\n\
     [site.filter]\npreset = 'X'\nallowed_verbs = ['X']\ndenied_extensions = ['X']\ndenied_sequences = ['X']\nmax_url = 'X'\n\
     [site.auth.basic]\nusers = { x = 'X' }\nrealm = 'X'\n[site.auth.forward]\nurl = 'X'\ncopy = ['X']\n\
     [site.compression]\nalgorithms = ['X']\ntypes = ['X']\nlevel = 'X'\n\
     [site.static]\nroot = 'X'\nfallback = 'X'\ntypes = { '.x' = 'X' }\ncache_control = { 'X' = 'X' }\nmemory = 'X'\n",
    "[[site]]\nname = 'a'\nbindings = ['http://*']\n[site.maps]\nx = { x = 'X' }\n\
     [[site.rewrite]]\nmatch = 'X'\nrewrite = 'X'\nconditions = [{ input = 'X', matches = 'X' }]\n\
     [[site.rewrite]]\nmatch = 'X'\nredirect = 'X'\nstatus = 'X'\nquery = 'X'\n\
     [[site.outbound]]\nfield = 'X'\nmatch = 'X'\nvalue = 'X'\n",
    "[[site]]\nname = 'a'\nbindings = ['http://*']\n[[site.application]]\npath = 'X'\nname = 'X'\ncommand = ['X']\n\
     hosting_model = 'X'\nwarmup = ['X']\nstartup_timeout = 'X'\nlisten = 'X'\nport = 'X'\nprotocol = 'X'\nready = 'X'\n\
     health = 'X'\nuser = 'X'\numask = 'X'\nenvironment = { X = 'X' }\n\
     recycle = { schedule = ['X'], age = 'X', memory = 'X' }\nlimits = { memory = 'X', cpu_max = 'X', core = 'X' }\n\
     [[site.application]]\npath = '/u'\nupstreams = ['X', { url = 'X', weight = 'X' }]\n\
     balance = { policy = 'X', sticky = 'X', health = { path = 'X', status = ['X'] }, fail_statuses = ['X'] }\n",
];

fuzz_target!(|text: &str| {
    // The end of a literal, and what no literal may have.
    if text.contains('\'') || text.contains(|letter: char| letter.is_control()) {
        return;
    }
    for table in TABLES {
        let table = table.replace("'X'", &format!("'{text}'"));
        if let Err(faults) = parse(&table, Path::new("/etc/cohost.toml"), &|_| None) {
            for fault in &faults {
                assert!((1..=table.lines().count() + 1).contains(&fault.line), "{fault}");
            }
        }
    }
});
