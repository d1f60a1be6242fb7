//! An agent's process, and what it tells.

use std::fs::File;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::{JUNIOR, STEP_LIMIT, Stage};
use crate::cli::demo::trouble::differs;
use crate::cli::exit::Exit;

/// The session of the story.
pub(super) const SESSION: &str = "claim-99";

/// The agent in the registry, whose replicas work in it.
pub(super) const ADJUSTER: &str = "adjuster";

/// What an agent tells of a step (see `portcullis_testkit::agent::Form::Json`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Told {
    Begins { number: u64, messages: usize },
    User { text: String },
    Gateway { text: String },
    Model { text: String },
    Call { tool: String, arguments: String },
    Result { tool: String, text: String, is_error: bool },
    Waits { attempt: u32, reason: String },
    Holds { tool: String },
    Hydrated { messages: usize, values: usize, fence: u64 },
    Awaits { what: String },
    Refused { status: u16, message: String },
    Done { number: u64 },
}

/// What an agent's whole run came to.
pub(super) struct Run {
    told: Vec<Told>,
}

impl Run {
    /// Where it took up the session: after how many steps, from how many messages.
    pub(super) fn begun(&self) -> Option<(u64, usize)> {
        self.told.iter().find_map(|told| {
            let Told::Begins { number, messages } = told else { return None };
            Some((*number, *messages))
        })
    }

    /// The model's last words.
    pub(super) fn answer(&self) -> Option<&str> {
        self.told.iter().rev().find_map(|told| {
            let Told::Model { text } = told else { return None };
            Some(text.as_str())
        })
    }

    /// How many messages it was told of before it began, and in which placement.
    pub(super) fn hydrated(&self) -> Option<(usize, u64)> {
        self.told.iter().find_map(|told| {
            let Told::Hydrated { messages, fence, .. } = told else { return None };
            Some((*messages, *fence))
        })
    }

    /// What the gateway said into the conversation.
    pub(super) fn gateway_said(&self) -> Vec<&str> {
        let texts = self.told.iter().filter_map(|told| {
            let Told::Gateway { text } = told else { return None };
            Some(text.as_str())
        });
        texts.collect()
    }

    /// The tools that ran, in order.
    pub(super) fn tools(&self) -> Vec<&str> {
        let tools = self.told.iter().filter_map(|told| {
            let Told::Result { tool, .. } = told else { return None };
            Some(tool.as_str())
        });
        tools.collect()
    }
}

/// An agent at work. It is killed when it is dropped.
pub(super) struct Agent {
    child: Child,
    id: u32,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    /// Starts an agent that is told this, and nothing of what was before.
    pub(super) fn start(
        stage: &Stage,
        page: &Page,
        say: Option<&str>,
        hold_before: Option<&str>,
    ) -> Result<Self, Exit> {
        let (url, key, pause) = (stage.gateway_url(), stage.key_file(JUNIOR), page.step_pause_ms().to_string());
        let key = key.display().to_string();
        let mut arguments = vec!["--json", "demo", "part", "agent", "--url", &url, "--key-file", &key];
        arguments.extend(["--session", SESSION, "--pause-ms", &pause]);
        arguments.extend(say.iter().flat_map(|say| ["--say", say]));
        arguments.extend(hold_before.iter().flat_map(|tool| ["--hold-before", tool]));
        Self::spawn(stage, &arguments)
    }

    /// Starts a replica, which works on what the gateway brings it.
    pub(super) fn serve(stage: &Stage, port: u16) -> Result<Self, Exit> {
        let (url, port, key) = (stage.gateway_url(), port.to_string(), stage.key_file(JUNIOR).display().to_string());
        Self::spawn(stage, &["--json", "demo", "part", "replica", "--port", &port, "--url", &url, "--key-file", &key])
    }

    fn spawn(stage: &Stage, arguments: &[&str]) -> Result<Self, Exit> {
        let system = |error: std::io::Error| Exit::system(format!("can't start the agent: {error}"));
        let log = File::options().append(true).create(true).open(stage.file("agent.log")).map_err(system)?;
        let mut command = Command::from(stage.command(arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().map_err(system)?;
        let (Some(id), Some(output)) = (child.id(), child.stdout.take()) else {
            return Err(Exit::system("the agent has no output"));
        };
        Ok(Self { child, id, lines: BufReader::new(output).lines() })
    }

    /// Tells each step until the agent has ended, which it must do well.
    pub(super) async fn finish(mut self, page: &Page) -> Result<Run, Exit> {
        let mut told = Vec::new();
        while let Some(step) = self.next(page).await? {
            told.push(step);
        }
        let status = self.child.wait().await;
        let status = status.map_err(|error| Exit::system(format!("can't wait for the agent: {error}")))?;
        if status.success() { Ok(Run { told }) } else { Err(differs(format!("the agent ended with {status}"))) }
    }

    /// Tells each step until the agent stops to be killed.
    pub(super) async fn until_it_holds(&mut self, page: &Page) -> Result<Run, Exit> {
        self.until(page, |step| matches!(step, Told::Holds { .. })).await
    }

    /// Tells each step until a replica has no more to do.
    pub(super) async fn until_it_rests(&mut self, page: &Page) -> Result<Run, Exit> {
        self.until(page, |step| matches!(step, Told::Done { .. })).await
    }

    /// Tells each step until a replica waits for something.
    pub(super) async fn until_it_waits(&mut self, page: &Page) -> Result<Run, Exit> {
        self.until(page, |step| matches!(step, Told::Awaits { .. })).await
    }

    async fn until(&mut self, page: &Page, is_last: impl Fn(&Told) -> bool) -> Result<Run, Exit> {
        let mut told = Vec::new();
        while let Some(step) = self.next(page).await? {
            told.push(step);
            if told.last().is_some_and(&is_last) {
                return Ok(Run { told });
            }
        }
        Err(differs("the agent ended before it was killed"))
    }

    /// Tells each step for as long as `until` has not come.
    pub(super) async fn work_until(
        &mut self,
        page: &Page,
        until: impl Future<Output = Result<(), Exit>>,
    ) -> Result<Run, Exit> {
        let mut told = Vec::new();
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                step = self.next(page) => match step? {
                    Some(step) => told.push(step),
                    None => return Err(differs("the agent ended before it was killed")),
                },
                reached = &mut until => return reached.map(|()| Run { told }),
            }
        }
    }

    /// Kills it (SIGKILL); its id.
    pub(super) async fn kill(mut self) -> Result<u32, Exit> {
        self.child.kill().await.map_err(|error| Exit::system(format!("can't kill the agent: {error}")))?;
        Ok(self.id)
    }

    async fn next(&mut self, page: &Page) -> Result<Option<Told>, Exit> {
        let line = tokio::time::timeout(STEP_LIMIT, self.lines.next_line()).await;
        let line = line.map_err(|_| differs(format!("the agent did nothing for {} s", STEP_LIMIT.as_secs())))?;
        let Some(line) = line.map_err(|error| Exit::system(format!("can't hear the agent: {error}")))? else {
            return Ok(None);
        };
        let told = serde_json::from_str(&line).map_err(|error| differs(format!("the agent said `{line}`: {error}")))?;
        tell(page, &told);
        Ok(Some(told))
    }
}

fn tell(page: &Page, told: &Told) {
    match told {
        Told::Begins { messages: 0, .. } => {
            page.said("agent", Tone::Faint, &format!("begins in session {SESSION}"));
        }
        Told::Begins { number, messages } => {
            let text = format!("continues session {SESSION} after step {number}, from {messages} messages");
            page.said("agent", Tone::Faint, &text);
        }
        Told::User { text } => page.said("user", Tone::Blue, text),
        Told::Gateway { text } => page.said("gateway", Tone::Yellow, text),
        Told::Model { text } => page.said("model", Tone::Plain, text),
        Told::Call { tool, arguments } => page.said("model", Tone::Plain, &format!("→ {tool} {arguments}")),
        Told::Result { tool, text, is_error } => {
            let tone = if *is_error { Tone::Yellow } else { Tone::Green };
            page.said("tool", tone, &format!("{tool}: {text}"));
        }
        Told::Waits { reason, .. } => page.said("agent", Tone::Faint, &format!("waits for the gateway: {reason}")),
        Told::Hydrated { messages, values, fence } => {
            let text = format!("is told of session {SESSION}: messages {messages}, values {values}, placement {fence}");
            page.said("agent", Tone::Faint, &text);
        }
        Told::Awaits { what } => page.said("agent", Tone::Faint, &format!("waits for {what}")),
        Told::Refused { message, .. } => page.said("gateway", Tone::Yellow, message),
        Told::Done { number } => page.said("agent", Tone::Faint, &format!("rests after step {number}")),
        Told::Holds { .. } => {}
    }
}
