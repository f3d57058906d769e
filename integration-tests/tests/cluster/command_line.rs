//! Mistakes of a user: each names the thing and the way out, and ends with the exit code that scripts expect.

use std::process::Command;

use anyhow::Result;
use integration_tests::{Cluster, Options, binary};

struct Mistake {
    arguments: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_against_a_cluster_are_named() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    cluster.ashlar(&["fs", "mkdir", "-p", "/dir/sub"])?;
    let mistakes = [
        Mistake { arguments: &["fs", "cat", "/nope"], code: 1, says: &["/nope", "no such file"] },
        Mistake { arguments: &["fs", "cat", "/dir"], code: 1, says: &["/dir", "is a directory"] },
        Mistake { arguments: &["fs", "get", "/dir", "/tmp/x"], code: 1, says: &["/dir", "-r"] },
        Mistake { arguments: &["fs", "rm", "/dir"], code: 1, says: &["/dir", "-r"] },
        Mistake { arguments: &["fs", "mkdir", "/a/b"], code: 1, says: &["/a", "no such file"] },
        Mistake { arguments: &["fs", "mkdir", "/dir"], code: 1, says: &["/dir", "exists"] },
        Mistake { arguments: &["fs", "mv", "/dir", "/dir/sub/x"], code: 1, says: &["/dir/sub/x", "inside it"] },
        Mistake { arguments: &["fs", "put", "/no/such/local", "/x"], code: 1, says: &["/no/such/local"] },
        Mistake { arguments: &["fs", "frobnicate"], code: 2, says: &["frobnicate"] },
    ];
    for Mistake { arguments, code, says } in mistakes {
        let output = cluster.ashlar_raw(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} said {said:?}");
        for text in says {
            assert!(said.contains(text), "{arguments:?} said {said:?}, not {text:?}");
        }
    }
    cluster.finish(&[]).await
}

#[test]
fn mistakes_in_the_configuration_are_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let run = |config: &str, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binary());
        command.env_remove("ASHLAR_CLUSTER").env("ASHLAR_CONFIG", config).args(arguments);
        let output = command.output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };

    let missing = dir.path().join("none.toml").display().to_string();
    let (code, said) = run(&missing, &["fs", "ls", "/"])?;
    assert!(code != Some(0) && said.contains(&missing), "{said}");

    let malformed = file("malformed.toml", "namenodes = [")?;
    let (code, said) = run(&malformed, &["fs", "ls", "/"])?;
    assert!(code != Some(0) && said.contains(&malformed), "{said}");

    let unknown = file("unknown.toml", "namenodes = [\"127.0.0.1:1\"]\n[client]\nop_timeuot = \"1s\"\n")?;
    let (code, said) = run(&unknown, &["fs", "ls", "/"])?;
    assert!(code != Some(0) && said.contains("op_timeuot") && said.contains("op_timeout"), "{said}");

    let dead = file("dead.toml", "namenodes = [\"127.0.0.1:1\"]\n[client]\nop_timeout = \"1s\"\n")?;
    let (code, said) = run(&dead, &["fs", "ls", "/"])?;
    assert!(code == Some(1) && said.contains("127.0.0.1:1"), "{said}");

    let open = file(
        "open.toml",
        "cluster = \"00112233445566778899aabbccddeeff\"\nnamenodes = [\"0.0.0.0:8020\"]\n[namenode]\n",
    )?;
    let (code, said) = run(&open, &["namenode", "-c", &open])?;
    assert!(code != Some(0) && said.contains("TLS"), "{said}");
    Ok(())
}
