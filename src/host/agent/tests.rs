//! The protocol against agents that lie, stall and break off.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::host::transport::{JobState, Transport, TransportError};

/// An agent that gives these replies in turn, and the requests it saw.
fn scripted<const N: usize>(replies: [Result<String, LibvirtError>; N]) -> (Agent, Arc<Mutex<Vec<Value>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (replies, log) = (Mutex::new(VecDeque::from(replies)), Arc::clone(&seen));
    let agent = Agent::over(move |json, _| {
        log.lock().unwrap().push(serde_json::from_str(json).unwrap());
        replies
            .lock()
            .unwrap()
            .pop_front()
            .expect("no more requests were expected")
    });
    (agent, seen)
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "an item of the script, where others fail"
)]
fn reply(value: &str) -> Result<String, LibvirtError> {
    Ok(format!("{{\"return\":{value}}}"))
}

fn fails(kind: LibvirtErrorKind) -> Result<String, LibvirtError> {
    Err(LibvirtError::stand_in(kind, "stand-in"))
}

fn commands(seen: &Mutex<Vec<Value>>) -> Vec<String> {
    seen.lock()
        .unwrap()
        .iter()
        .map(|r| r["execute"].as_str().unwrap().to_owned())
        .collect()
}

/// Asserts that reading a file fails on this one reply, and that the handle is closed all the same.
fn read_fails_on(bad: &str) -> AgentError {
    let (agent, seen) = scripted([reply("7"), reply(bad), reply("{}")]);
    let error = agent.read_file("/f", 4).unwrap_err();
    assert_eq!(
        commands(&seen),
        ["guest-file-open", "guest-file-read", "guest-file-close"],
        "{bad}"
    );
    assert_eq!(seen.lock().unwrap()[2]["arguments"]["handle"], 7);
    error
}

#[test]
fn lies_about_a_file_are_noticed_and_the_handle_closed() {
    let lies = [
        r#"{"count":3,"buf-b64":"QUI=","eof":true}"#,
        r#"{"count":2,"buf-b64":"Q*I=","eof":true}"#,
        r#"{"count":2,"buf-b64":"QUI","eof":true}"#,
        r#"{"count":-1,"buf-b64":"","eof":true}"#,
        r#"{"count":"2","buf-b64":"QUI=","eof":true}"#,
        r#"{"count":18446744073709551616,"buf-b64":"","eof":true}"#,
        r#"{"count":2,"buf-b64":"QUI="}"#,
        r#"{"count":2,"buf-b64":["QUI="],"eof":true}"#,
        r#"{"count":6,"buf-b64":"QUJDREVG","eof":true}"#,
        "null",
        "[]",
    ];
    for lie in lies {
        let error = read_fails_on(lie);
        assert!(
            matches!(
                error,
                AgentError::Malformed {
                    command: "guest-file-read",
                    ..
                }
            ),
            "{lie}: {error:?}"
        );
    }
    // Five bytes were asked for, to tell a file of four from a longer one.
    let longer = read_fails_on(r#"{"count":5,"buf-b64":"QUJDREU=","eof":false}"#);
    assert!(
        matches!(longer, AgentError::TooLarge { limit: 4, .. }),
        "{longer:?}"
    );
}

#[test]
fn broken_envelopes_are_refused() {
    let huge = format!("{{\"return\":\"{}\"}}", "x".repeat(MAX_REPLY));
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "{",
        "{}",
        "null",
        "{\"return\":",
        "{\"return\":{}} {}",
        "\u{0}",
        &huge,
        &deep,
    ] {
        let (agent, _) = scripted([Ok(text.to_owned())]);
        let error = agent.ping(Duration::from_secs(1)).unwrap_err();
        let start: String = text.chars().take(20).collect();
        assert!(
            matches!(error, AgentError::Malformed { .. }),
            "{start}: {error:?}"
        );
    }
    for handle in ["\"7\"", "7.5", "{}", "9223372036854775808"] {
        let (agent, _) = scripted([reply(handle)]);
        assert!(
            matches!(agent.read_file("/f", 4), Err(AgentError::Malformed { .. })),
            "{handle}"
        );
    }
}

#[test]
fn pieces_are_joined_and_files_of_size_zero_end() {
    let read = |bytes: &str, count, eof| {
        reply(&format!(
            "{{\"count\":{count},\"buf-b64\":\"{bytes}\",\"eof\":{eof}}}"
        ))
    };
    let (agent, _) = scripted([
        reply("1"),
        read("QUI=", 2, false),
        read("Qw==", 1, true),
        reply("{}"),
    ]);
    assert_eq!(agent.read_file("/f", 3).unwrap(), b"ABC");
    // Without the check for an empty piece a guest that never says "end" would be read for ever.
    let (agent, _) = scripted([
        reply("1"),
        read("", 0, false),
        fails(LibvirtErrorKind::AgentTimeout),
    ]);
    assert_eq!(agent.read_file("/f", 3).unwrap(), b"");
}

#[test]
fn a_kernel_refusal_comes_back_from_the_flush() {
    let refused = || fails(LibvirtErrorKind::AgentRefused);
    let (agent, seen) = scripted([
        reply("1"),
        reply("{\"count\":2,\"eof\":false}"),
        refused(),
        refused(),
    ]);
    let error = agent.write_file("/proc/sys/x", b"no").unwrap_err();
    assert!(
        matches!(
            error,
            AgentError::Refused {
                command: "guest-file-flush",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(commands(&seen).last().unwrap(), "guest-file-close");
    for count in ["0", "3", "-1"] {
        let (agent, _) = scripted([reply("1"), reply(&format!("{{\"count\":{count}}}")), reply("{}")]);
        assert!(
            matches!(agent.write_file("/f", b"no"), Err(AgentError::Malformed { .. })),
            "{count}"
        );
    }
}

#[test]
fn a_command_that_ends_tells_how() {
    let running = || reply("{\"exited\":false}");
    let done = |rest: &str| reply(&format!("{{\"exited\":true,{rest}}}"));
    let exec = |status: Result<String, LibvirtError>| {
        let (agent, _) = scripted([reply("{\"pid\":9}"), running(), status]);
        agent.exec(&["/bin/x"], Some(b"in"), Duration::from_mins(1))
    };
    let good = exec(done(r#""exitcode":3,"out-data":"QUI=""#)).unwrap();
    assert_eq!(
        good,
        ExecOutput {
            exit_code: 3,
            stdout: b"AB".to_vec(),
            stderr: Vec::new()
        }
    );
    assert_eq!(exec(done("\"signal\":9")).unwrap().exit_code, 137);
    for bad in [
        "\"signal\":0",
        "\"exitcode\":1,\"signal\":2",
        "\"exitcode\":4294967296",
        "\"out-data\":\"QUI=\"",
    ] {
        assert!(
            matches!(exec(done(bad)), Err(AgentError::Malformed { .. })),
            "{bad}"
        );
    }
    let cut = exec(done("\"exitcode\":0,\"out-truncated\":true"));
    assert!(matches!(cut, Err(AgentError::TooLarge { .. })), "{cut:?}");
}

#[test]
fn a_result_is_told_once_and_can_be_lost() {
    let exec = |last: Result<String, LibvirtError>| {
        let (agent, _) = scripted([reply("{\"pid\":9}"), fails(LibvirtErrorKind::AgentTimeout), last]);
        agent.exec(&["/bin/x"], None, Duration::from_mins(1))
    };
    let late = exec(reply("{\"exited\":true,\"exitcode\":0}")).unwrap();
    assert_eq!(
        late.exit_code, 0,
        "the unanswered question came too early to take the result"
    );
    let lost = exec(fails(LibvirtErrorKind::AgentRefused)).unwrap_err();
    assert!(matches!(lost, AgentError::ResultLost { .. }), "{lost:?}");
    let (agent, seen) = scripted([
        reply("{\"pid\":9}"),
        reply("{\"exited\":false}"),
        reply("{\"pid\":10}"),
        reply("{\"exited\":true,\"exitcode\":0}"),
    ]);
    let error = agent.exec(&["/bin/x"], None, Duration::ZERO).unwrap_err();
    assert!(matches!(error, AgentError::TooSlow { .. }), "{error:?}");
    assert_eq!(
        seen.lock().unwrap()[2]["arguments"]["arg"][3],
        "9",
        "the command itself is killed"
    );
}

#[test]
fn silence_refusal_and_a_lost_domain_differ() {
    let ping = |kind| {
        scripted([fails(kind)])
            .0
            .ping(Duration::from_secs(1))
            .unwrap_err()
    };
    assert!(matches!(
        ping(LibvirtErrorKind::AgentTimeout),
        AgentError::NotAnswering { .. }
    ));
    assert!(matches!(
        ping(LibvirtErrorKind::AgentRefused),
        AgentError::Refused { .. }
    ));
    assert!(matches!(
        ping(LibvirtErrorKind::NoDomain),
        AgentError::Transport { .. }
    ));
    let (agent, _) = scripted([]);
    assert!(matches!(
        agent.exec(&[], None, Duration::ZERO),
        Err(AgentError::Request(_))
    ));
    let long = "x".repeat(MAX_REQUEST);
    assert!(matches!(
        agent.exec(&[&long], None, Duration::ZERO),
        Err(AgentError::Request(_))
    ));
}

#[test]
fn blocked_commands_are_named() {
    let entry = |name: &str, enabled| {
        format!("{{\"name\":\"{name}\",\"enabled\":{enabled},\"success-response\":true}}")
    };
    let info = |commands: &str| {
        scripted([reply(&format!(
            "{{\"version\":\"7.2\",\"supported_commands\":[{commands}]}}"
        ))])
        .0
        .info()
    };
    let mut all: Vec<_> = AgentInfo::NEEDED.iter().map(|name| entry(name, true)).collect();
    assert_eq!(info(&all.join(",")).unwrap().lacking(), Vec::<&str>::new());
    all[0] = entry("guest-exec", false);
    all.remove(2);
    let blocked = info(&all.join(",")).unwrap();
    assert_eq!(blocked.lacking(), ["guest-exec", "guest-file-close"]);
    assert!(blocked.disabled.contains("guest-exec"));
    for bad in [
        entry("\\u001b[2J", true),
        entry(&"x".repeat(65), true),
        vec![entry("x", true); 1001].join(","),
    ] {
        assert!(matches!(info(&bad), Err(AgentError::Malformed { .. })));
    }
}

#[test]
fn a_job_is_started_without_splicing_and_its_pid_checked() {
    let start = |stdout: &str, code: i32| {
        let data = BASE64.encode(stdout);
        let status = format!("{{\"exited\":true,\"exitcode\":{code},\"out-data\":\"{data}\"}}");
        let (agent, seen) = scripted([reply("{\"pid\":9}"), reply(&status)]);
        (
            Transport::Agent(agent).start_job(uuid::Uuid::nil(), &["fio", "$(reboot)"], 99),
            seen,
        )
    };
    let (job, seen) = start("42\n", 0);
    assert_eq!(job.unwrap().pid(), 42);
    let arguments = seen.lock().unwrap()[0]["arguments"]["arg"].clone();
    assert!(
        !arguments[1].as_str().unwrap().contains("reboot")
            && !arguments[3].as_str().unwrap().contains("reboot")
    );
    assert_eq!(arguments[4], format!("/run/kvmtune/{}", uuid::Uuid::nil()));
    assert_eq!(
        (&arguments[5], &arguments[6], &arguments[7]),
        (&json!("100"), &json!("fio"), &json!("$(reboot)"))
    );
    for (stdout, code) in [
        ("", 0),
        ("1\n", 0),
        ("-1\n", 0),
        ("0\n", 0),
        ("x\n", 0),
        ("42\n", 1),
    ] {
        assert!(start(stdout, code).0.is_err(), "{stdout:?} {code}");
    }
}

#[test]
fn a_job_without_process_or_exit_code_vanished() {
    let no = || fails(LibvirtErrorKind::AgentRefused);
    let job = || {
        let status = format!(
            "{{\"exited\":true,\"exitcode\":0,\"out-data\":\"{}\"}}",
            BASE64.encode("42")
        );
        [reply("{\"pid\":9}"), reply(&status)]
    };
    let [a, b] = job();
    let (agent, _) = scripted([a, b, no(), no(), no()]);
    let agent = Transport::Agent(agent);
    let job_a = agent.start_job(uuid::Uuid::nil(), &["x"], 9).unwrap();
    assert!(matches!(
        agent.poll_job(&job_a),
        Err(TransportError::Vanished { .. })
    ));
    let [a, b] = job();
    let (agent, _) = scripted([a, b, no(), no(), reply("3"), reply("{}")]);
    let agent = Transport::Agent(agent);
    let job_b = agent.start_job(uuid::Uuid::nil(), &["x"], 9).unwrap();
    assert_eq!(
        agent.poll_job(&job_b).unwrap(),
        JobState::Ended,
        "it ended between two looks"
    );
}

#[test]
fn a_starved_agent_does_not_end_the_wait() {
    let status = format!(
        "{{\"exited\":true,\"exitcode\":0,\"out-data\":\"{}\"}}",
        BASE64.encode("42")
    );
    let started = [reply("{\"pid\":9}"), reply(&status)];
    let [a, b] = started;
    let (agent, seen) = scripted([
        a,
        b,
        fails(LibvirtErrorKind::AgentTimeout),
        reply("3"),
        reply("{}"),
    ]);
    let agent = Transport::Agent(agent);
    let job = agent.start_job(uuid::Uuid::nil(), &["x"], 9).unwrap();
    agent
        .wait_job(&job, Duration::ZERO, Duration::from_mins(1), &|| false)
        .unwrap();
    assert_eq!(commands(&seen).last().unwrap(), "guest-file-close");
}
