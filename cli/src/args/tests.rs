use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_lines_that_scripts_use_are_understood() {
    for line in [
        "ashlar quickstart --dir d --namenodes 3 --datanodes 3 --ports 9000",
        "ashlar init d --namenodes 1 --datanodes 2",
        "ashlar namenode -c d/node-nn1.toml --log-level debug",
        "ashlar datanode --config d/node-dn1.toml --set datanode.rack=r1",
        "ashlar fs ls",
        "ashlar fs ls -l -R /a /b --json --bytes",
        "ashlar fs --cluster 127.0.0.1:8020 ls /",
        "ashlar fs ls / --cluster 127.0.0.1:8020",
        "ashlar fs put -r -p -f --skip-special a b /dir/",
        "ashlar fs put - /a",
        "ashlar fs get -r -p -f /a /b .",
        "ashlar fs get /a -",
        "ashlar fs cat /a /b",
        "ashlar fs mkdir -p /a/b -m 700",
        "ashlar fs mv /a /b /c",
        "ashlar fs rm -r -f --yes /a",
        "ashlar fs cp -r /a /b",
        "ashlar fs stat /a --json",
        "ashlar fs du -s /a",
        "ashlar admin status --json",
        "ashlar admin report --json --bytes",
        "ashlar admin raft status --json",
        "ashlar admin raft transfer",
        "ashlar admin raft transfer 2",
        "ashlar bench limits --json",
        "ashlar completions bash",
        "ashlar man /tmp/man1",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_lines_are_refused_as_usage() {
    for (line, kind) in [
        ("ashlar fs put /a", ErrorKind::MissingRequiredArgument),
        ("ashlar fs rm", ErrorKind::MissingRequiredArgument),
        ("ashlar fs cat a", ErrorKind::ValueValidation),
        ("ashlar fs mkdir /a/../b", ErrorKind::ValueValidation),
        ("ashlar fs mkdir -m 99 /a", ErrorKind::ValueValidation),
        ("ashlar quickstart --namenodes 2", ErrorKind::InvalidValue),
        ("ashlar quickstart --datanodes 0", ErrorKind::ValueValidation),
        ("ashlar datanode", ErrorKind::MissingRequiredArgument),
        ("ashlar datanode -c f --set rack", ErrorKind::ValueValidation),
        ("ashlar fsls", ErrorKind::InvalidSubcommand),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!((line, error.kind(), error.exit_code()), (line, kind, 2));
    }
}
