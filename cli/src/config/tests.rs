use super::*;

fn read_text(text: &str) -> Result<File, String> {
    read(text, Path::new("d/node.toml"), Vec::new(), &[]).map_err(|problem| problem.to_string())
}

fn wrong(text: &str) -> String {
    read_text(text).expect_err("must be refused")
}

fn variable(name: &str, value: &str) -> environment::Variable {
    let all = std::iter::once((name.into(), value.into()));
    environment::variables(all).pop().expect("it names a section")
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    assert_eq!(
        wrong("[client]\nhost = \"h\"\nop_timeuot = \"3s\"\n"),
        "d/node.toml:3:14: unknown key \"op_timeuot\" in [client]; did you mean \"op_timeout\"?"
    );
    assert_eq!(
        wrong("[datanodes]\nlisten = \"x\"\n"),
        "d/node.toml:1:2: unknown key \"datanodes\"; did you mean \"datanode\"?"
    );
    assert_eq!(
        wrong("[log]\nqqqqqqqqq = 1\n"),
        "d/node.toml:2:13: unknown key \"qqqqqqqqq\" in [log]; known keys: level, format"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    assert_eq!(
        wrong("[client]\nop_timeout = 3\n"),
        "d/node.toml:2:14: client.op_timeout: invalid type: integer `3`, expected a string"
    );
    assert_eq!(
        wrong("namenodes = [\"a:1\", 2]\n"),
        "d/node.toml:1:21: namenodes: invalid type: integer `2`, expected a string"
    );
    assert_eq!(
        wrong("[client]\nread_ahead = \"4XB\"\n"),
        "d/node.toml:2:14: client.read_ahead: \"4XB\" is not a size; write a whole number with an optional unit, such \
         as 128MiB, 4KiB or 512"
    );
    assert_eq!(
        wrong("[log]\nformat = \"xml\"\n"),
        "d/node.toml:2:10: log.format: unknown variant `xml`, expected one of `auto`, `human`, `json`"
    );
    assert_eq!(
        wrong("cluster = \"12\"\n"),
        "d/node.toml:1:11: cluster: \"12\" is not a cluster id of 32 hexadecimal digits"
    );
}

#[test]
fn malformed_text_is_named_with_its_place() {
    let line = wrong("cluster = \"\n");
    assert!(line.starts_with("d/node.toml:1:1"), "{line}");
    assert!(line.contains("not valid TOML: "), "{line}");
    let line = wrong("[log]\nlevel \"info\"\n");
    assert!(line.starts_with("d/node.toml:2:"), "{line}");
}

#[test]
fn relative_paths_are_seen_from_the_file() {
    let file = read_text("[namenode]\ndir = \"nn1\"\n[datanode]\nvolumes = [\"a\", \"/b\"]\n").expect("legal");
    assert_eq!(file.namenode.expect("given").dir, Path::new("d/nn1"));
    assert_eq!(file.datanode.expect("given").volumes, [Path::new("d/a"), Path::new("/b")]);
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let text = "[client]\nwindow = 1\nop_timeout = \"1s\"\n[log]\nlevel = \"warn\"\n";
    let variables = vec![variable("ASHLAR_CLIENT__WINDOW", "2"), variable("ASHLAR_LOG__LEVEL", "info")];
    let flags = ["log.level=debug".parse().expect("legal")];
    let file = read(text, Path::new("f"), variables, &flags).expect("legal");
    assert_eq!(file.client.window, 2);
    assert_eq!(file.client.op_timeout, std::time::Duration::from_secs(1));
    assert_eq!(file.log.level.as_deref(), Some("debug"));
}

#[test]
fn text_from_outside_is_read_as_what_is_wanted() {
    let variables = vec![
        variable("ASHLAR_DATANODE__VOLUMES", "/a, /b"),
        variable("ASHLAR_DATANODE__RACK", "12"),
        variable("ASHLAR_NAMENODE__REPLICATION", "2"),
        variable("ASHLAR_NAMENODE__BLOCK_SIZE", "1MiB"),
        variable("ASHLAR_LOG__FORMAT", "json"),
    ];
    let file = read("[namenode]\n[datanode]\n", Path::new("f"), variables, &[]).expect("legal");
    let (namenode, datanode) = (file.namenode.expect("given"), file.datanode.expect("given"));
    assert_eq!(datanode.volumes, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(datanode.rack, "12");
    assert_eq!((namenode.replication, namenode.block_size), (2, types::ByteSize::mib(1)));
    assert_eq!(file.log.format, LogFormat::Json);
}

#[test]
fn wrong_text_from_outside_is_named_by_its_source() {
    let wrong = |variables, flags: &[Setting]| {
        read("[namenode]\n", Path::new("f"), variables, flags).expect_err("must be refused").to_string()
    };
    assert_eq!(
        wrong(vec![variable("ASHLAR_NAMENODE__REPLICATION", "two")], &[]),
        "the environment variable ASHLAR_NAMENODE__REPLICATION: namenode.replication: \"two\" is not a whole number in \
         range"
    );
    assert_eq!(
        wrong(Vec::new(), &["namenode.replicaton=2".parse().expect("legal")]),
        "--set namenode.replicaton: unknown key \"replicaton\" in [namenode]; did you mean \"replication\"?"
    );
    assert_eq!(
        wrong(vec![variable("ASHLAR_NAMENODES__X", "1")], &[]),
        "the environment variable ASHLAR_NAMENODES__X: namenodes: invalid type: map, expected a sequence"
    );
}

#[test]
fn the_environment_of_another_role_is_none_of_our_business() {
    let file = read("[datanode]\n", Path::new("f"), vec![variable("ASHLAR_NAMENODE__DIR", "/x")], &[]).expect("legal");
    assert!(file.namenode.is_none());
}

#[test]
fn a_missing_file_and_a_file_of_another_role_say_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("none.toml");
    assert_eq!(
        load_as_written(&path).expect_err("missing").to_string(),
        format!("{}: no such file; `ashlar init` and `ashlar quickstart` write one", path.display())
    );
    let file = read_text("[datanode]\n").expect("legal");
    assert_eq!(
        file.other_role(Path::new("f"), "namenode").to_string(),
        "f: has no [namenode] section: it is not the file of a namenode but of a datanode"
    );
    assert_eq!(
        file.membership(Path::new("f")).expect_err("no cluster").to_string(),
        "f: \"cluster\" is missing; write the id that `ashlar init` drew: cluster = \"<32 hexadecimal digits>\""
    );
}

#[test]
fn every_key_is_documented() {
    let page = include_str!("../../../docs/operations/configuration.md");
    // What is absent by default is not among the keys.
    let listen = Some("127.0.0.1:8020".parse().expect("an address"));
    let (rack_map, rack_script, audit_log) = (Some("racks".into()), Some("racks.sh".into()), Some("audit".into()));
    let namenode = namenode::Settings { listen, rack_map, rack_script, audit_log, ..namenode::Settings::default() };
    let sections = [
        serde_json::to_value(namenode),
        serde_json::to_value(datanode::Settings { advertise: listen, ..datanode::Settings::default() }),
        serde_json::to_value(s3_gateway::Settings::default()),
        serde_json::to_value(client::Config::default()),
    ];
    for (name, section) in ["namenode", "datanode", "s3", "client"].iter().zip(sections) {
        let heading = format!("## `[{name}]`\n");
        let (_, text) = page.split_once(&heading).unwrap_or_else(|| panic!("no heading for [{name}]"));
        let text = text.split("\n## ").next().expect("a split yields one part at least");
        let section = section.expect("settings are plain data");
        let mut wanted: Vec<_> = section.as_object().expect("a table").keys().map(String::as_str).collect();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut documented: Vec<_> = rows.collect();
        wanted.sort_unstable();
        documented.sort_unstable();
        assert_eq!(documented, wanted, "[{name}]");
    }
}
