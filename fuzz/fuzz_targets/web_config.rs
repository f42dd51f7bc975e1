//! Files of IIS. In: any bytes. Never: a panic, an endless loop, or a configuration that our own reader refuses.
#![no_main]

use std::path::Path;

use cohost::{
    config,
    import::{text, web_config},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = text(bytes) else { return };
    for file in
        [text.clone(), format!("<configuration><system.webServer>{text}</system.webServer></configuration>")]
    {
        if let Ok(imported) = web_config(&file, "site") {
            let read = config::parse(&imported.text, Path::new("cohost.toml"), &|_| None);
            assert!(read.is_ok(), "{}", imported.text);
        }
    }
});
