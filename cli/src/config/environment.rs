//! Overrides from the environment: `ASHLAR_DATANODE__LISTEN` is `listen` in `[datanode]`.

use std::ffi::OsString;

const PREFIX: &str = "ASHLAR_";

/// These are read by the command line itself.
const RESERVED: [&str; 3] = ["ASHLAR_CLUSTER", "ASHLAR_CONFIG", "ASHLAR_READ_FROM"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) keys: Vec<String>,
    pub(super) value: String,
}

/// The variables that name a key of a section, in the order of their names. A name needs the double underscore: other
/// variables of the prefix belong to scripts.
pub(super) fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<Variable> {
    let mut found: Vec<_> = all
        .filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let rest = name.strip_prefix(PREFIX)?;
            if RESERVED.contains(&name.as_str()) || !rest.contains("__") {
                return None;
            }
            let keys = rest.split("__").map(str::to_lowercase).collect();
            Some(Variable { name, keys, value })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_sections_are_read() {
        let all = [
            ("ASHLAR_DATANODE__LISTEN", "127.0.0.1:1"),
            ("ASHLAR_CLUSTER", "127.0.0.1:2"),
            ("ASHLAR_BUILD_DIR", "/tmp"),
            ("PATH", "/bin"),
        ];
        let found = variables(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        let wanted = Variable {
            name: "ASHLAR_DATANODE__LISTEN".to_owned(),
            keys: vec!["datanode".to_owned(), "listen".to_owned()],
            value: "127.0.0.1:1".to_owned(),
        };
        assert_eq!(found, [wanted]);
    }
}
