//! What was said of approvals in the clients of this gateway, for the calls that wait here. What counts is in the journal: this only saves looking there all the time.

use portcullis_domain::ids::CallId;
use tokio::sync::broadcast;

/// How many may be said before who listens slowly misses one, and looks by itself.
const SPOKEN_LIMIT: usize = 256;

/// Says and hears what was said.
#[derive(Debug)]
pub struct Spoken(broadcast::Sender<Word>);

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// There is an answer.
    Answered(CallId),
    /// The question was put away, or answered with nothing that counts.
    PutAway(CallId),
}

/// Who listens.
pub struct Listener(broadcast::Receiver<Word>);

impl Default for Spoken {
    fn default() -> Self {
        Self(broadcast::Sender::new(SPOKEN_LIMIT))
    }
}

impl Spoken {
    /// Says it to everybody who listens.
    pub fn say(&self, word: Word) {
        // Nobody may be listening.
        let _ = self.0.send(word);
    }

    /// Hears everything from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
    /// The next thing that was said; none where something was missed.
    pub async fn next(&mut self) -> Option<Word> {
        self.0.recv().await.ok()
    }
}
