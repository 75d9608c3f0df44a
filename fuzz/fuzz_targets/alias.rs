//! The record of an interface's owner, which anybody may have written to any interface's alias.

#![no_main]

use libfuzzer_sys::fuzz_target;
use naming::alias::PortAlias;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(alias) = PortAlias::parse(text) else { return };
    // The kernel holds no longer one.
    if text.len() <= 255 {
        assert_eq!(alias.encode(), text, "{alias:?}");
    } else {
        let _ = alias.encode();
    }
});
