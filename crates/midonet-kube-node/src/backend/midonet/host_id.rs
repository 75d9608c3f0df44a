//! The id that the MidoNet agent gave this host.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The property in MidoNet's file.
const PROPERTY: &str = "host_uuid";

/// A file has a line, and perhaps a comment: whatever is larger is another one.
const MOST: u64 = 4096;

/// The id, lower-case; `None` without a file.
///
/// # Errors
/// The file cannot be read, or has no id.
pub fn read(path: &Path) -> Result<Option<String>> {
    let what = || format!("{}, where the MidoNet agent keeps this host's id", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(file) if file.len() > MOST => bail!("{}: it is larger than any such file", what()),
        _ => {}
    }
    let text = fs::read_to_string(path).with_context(what)?;
    let id = parse(&text).with_context(|| format!("{}: it has no line {PROPERTY}=UUID", what()))?;
    Ok(Some(id))
}

/// The property of a file of Java's properties.
fn parse(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (name, value) = line.trim_start().split_once(['=', ':'])?;
        (name.trim() == PROPERTY).then(|| value.trim().to_ascii_lowercase())
    })?;
    is_uuid(&value).then_some(value)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "44fb4381-c99d-4389-86c3-fdca765bcbde";

    #[test]
    fn the_id_is_a_property_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midonet_host_id.properties");
        assert_eq!(read(&path).unwrap(), None);
        for text in [
            format!("host_uuid={ID}\n"),
            format!("#Mon Nov 23 23:56:57 UTC 2026\nhost_uuid = {}\r\n", ID.to_uppercase()),
            format!("other=1\nhost_uuid: {ID}"),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(ID), "{text}");
        }
        for text in ["", "host_uuid=", "host_uuid=x", "#host_uuid", &format!("#host_uuid={ID}"), &ID[1..]] {
            fs::write(&path, text).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("host_uuid=UUID"), "{text}");
        }
        fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger"));
    }
}
