//! Every value that a node would run with, and where each came from.

use std::path::Path;

use serde_json::Value;

use super::{ConfigError, File, Node, Setting, environment, load_tree, read_tree};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Such as `datanode.listen`.
    pub(crate) key: String,
    /// As JSON has it.
    pub(crate) value: String,
    /// A place in a file, a variable, a flag; or `default`.
    pub(crate) origin: String,
}

/// Reads a file as a server or a client would, with what the environment and the flags put over it, and tells what came of it.
pub(crate) fn explain(path: &Path, flags: &[Setting]) -> Result<(File, Vec<Explained>), ConfigError> {
    explain_with(path, environment::variables(std::env::vars_os()), flags)
}

fn explain_with(
    path: &Path,
    variables: Vec<environment::Variable>,
    flags: &[Setting],
) -> Result<(File, Vec<Explained>), ConfigError> {
    let tree = load_tree(path, variables, flags)?;
    let file = read_tree(&tree, path)?;
    let values = serde_json::to_value(&file).expect("settings have text keys and no floats that JSON lacks");
    let mut found = Vec::new();
    walk(&tree, &mut Vec::new(), &values, &mut found);
    Ok((file, found))
}

fn walk(tree: &Node, keys: &mut Vec<String>, value: &Value, found: &mut Vec<Explained>) {
    match value {
        // What has no value is not set.
        Value::Null => {}
        Value::Object(table) => {
            for (key, value) in table {
                keys.push(key.clone());
                walk(tree, keys, value, found);
                keys.pop();
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let origin = tree.origin_of(keys).map_or_else(|| "default".to_owned(), ToString::to_string);
            found.push(Explained { key: keys.join("."), value: value.to_string(), origin });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_tells_where_it_came_from() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("node.toml");
        let text = "cluster = \"f5d7fa76679c51b060fe039db3ada04e\"\nnamenodes = [\"127.0.0.1:1\"]\n[datanode]\nrack = \"/r1\"\nvolumes = [\"v\"]\n";
        std::fs::write(&path, text).expect("writes");
        let variable = |name: &str, value: &str| (name.into(), value.into());
        let variables = [variable("ASHLAR_DATANODE__HOST", "dn7"), variable("ASHLAR_NAMENODE__NODE", "3")];
        let variables = environment::variables(variables.into_iter());
        let flags = ["datanode.max_copies=2".parse::<Setting>().expect("a flag")];
        let (_, found) = explain_with(&path, variables, &flags).expect("it makes sense");
        let of = |key: &str| {
            let found = found.iter().find(|explained| explained.key == key);
            found.map(|explained| (explained.value.as_str(), explained.origin.clone()))
        };
        assert_eq!(of("datanode.rack"), Some(("\"/r1\"", format!("{}:4:8", path.display()))));
        let host = "the environment variable ASHLAR_DATANODE__HOST".to_owned();
        assert_eq!(of("datanode.host"), Some(("\"dn7\"", host)));
        assert_eq!(of("datanode.max_copies"), Some(("2", "--set datanode.max_copies".to_owned())));
        assert_eq!(of("datanode.heartbeat"), Some(("\"1s\"", "default".to_owned())));
        assert_eq!(of("log.format"), Some(("\"auto\"", "default".to_owned())));
        assert!(of("namenode.node").is_none(), "of another role");
    }
}
