//! Guardrails in a stream: text is looked at as it comes and held back only as long as a rule needs; everything else goes on at once.
//!
//! It stands before whatever makes something of the stream, so that what is judged, recorded, counted as said and handed to the client is the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use portcullis_domain::call::Capability;
use portcullis_domain::policy::Point;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::stream::machine::CHOICES_LIMIT;
use portcullis_interop::llm::chat::stream::text::{Slot, TextEvent, TextPiece, TextReader};

use crate::asking::Asking;
use crate::guardrails::stage::{Last, Passed, Stage};
use crate::guardrails::{Content, Rule};
use crate::life::Gate;
use crate::life::guarding::Notes;
use crate::snapshot::Snapshot;

/// The guardrails of one streamed answer.
#[derive(Debug)]
pub struct Sieve {
    capability: Capability,
    rules: Vec<Arc<Rule>>,
    reader: TextReader,
    /// The texts that have begun and not ended.
    texts: BTreeMap<Slot, Vec<Stage>>,
    begun: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    /// What was done, until it is taken.
    pub notes: Notes,
    /// That the answer goes no further.
    refusal: Option<Refusal>,
    /// How much text came in, and in how many pieces.
    came: (usize, usize),
}

impl Gate {
    /// The guardrails of an answer of this capability; none where no rule looks.
    #[must_use]
    pub fn sieve(&self, snapshot: &Snapshot, capability: &Capability) -> Option<Sieve> {
        let rules = snapshot.guardrails.at(Point::ModelOut, capability);
        (!rules.is_empty()).then(|| Sieve {
            capability: capability.clone(),
            rules,
            reader: TextReader::default(),
            texts: BTreeMap::new(),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            notes: Notes::default(),
            refusal: None,
            came: (0, 0),
        })
    }
}

impl Sieve {
    /// Why the answer goes no further, once that is so.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Whether all that is still to come is what the answer has cost.
    #[must_use]
    pub fn is_at_the_end(&self) -> bool {
        !self.begun.is_empty() && self.begun == self.ended
    }

    /// How many bytes of text the model has produced, and in how many pieces, whether or not they went on.
    #[must_use]
    pub fn came(&self) -> (usize, usize) {
        self.came
    }

    /// Takes bytes of the upstream's answer, and gives those that may go on.
    ///
    /// # Errors
    ///
    /// When the stream can't be read.
    pub async fn feed(&mut self, gate: &Gate, asking: &Asking, bytes: &[u8]) -> Result<Bytes, Refusal> {
        self.reader.feed(bytes);
        let mut out = BytesMut::new();
        while let Some(event) = self.reader.next_event()? {
            match event {
                TextEvent::Other(raw) => out.extend_from_slice(&raw),
                TextEvent::Piece(piece) => self.take(gate, asking, &piece, &mut out).await?,
                TextEvent::Done(raw) => {
                    self.finish(gate, asking, None, &mut out).await;
                    out.extend_from_slice(&raw);
                }
            }
        }
        Ok(out.freeze())
    }

    /// Takes the end of the upstream's answer, and gives what was held back.
    pub async fn feed_end(&mut self, gate: &Gate, asking: &Asking) -> Bytes {
        let mut out = BytesMut::new();
        self.finish(gate, asking, None, &mut out).await;
        // Some servers leave out the empty line behind their last event, in which there is no text: that they do so is known of the end alone.
        let rest = self.reader.rest();
        if matches!(rest.trim_ascii(), b"data: [DONE]" | b"data:[DONE]") {
            out.extend_from_slice(&rest);
        }
        out.freeze()
    }

    /// The arguments of a call in the answer, which are text of the model's too.
    ///
    /// # Errors
    ///
    /// That the answer goes no further.
    pub async fn arguments(&mut self, gate: &Gate, asking: &Asking, arguments: &str) -> Result<String, Refusal> {
        let rules: Vec<Arc<Rule>> = self.rules.iter().filter(|rule| rule.reads_texts()).cloned().collect();
        let content = Content::of_arguments(arguments);
        let at = (Point::ModelOut, &self.capability);
        gate.guard(asking, &rules, at, content, &mut self.notes).await.map(Content::into_string)
    }

    async fn take(
        &mut self,
        gate: &Gate,
        asking: &Asking,
        piece: &TextPiece,
        out: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let mut texts = Vec::with_capacity(piece.texts.len());
        for (slot, text) in &piece.texts {
            self.begun.insert(slot.choice);
            if self.begun.len() > CHOICES_LIMIT {
                let message = format!("the model's answer has more than {CHOICES_LIMIT} choices");
                return Err(Refusal::new(Code::TooLarge, message));
            }
            self.came = (self.came.0 + text.len(), self.came.1 + 1);
            texts.push(self.push(gate, *slot, text.clone()));
        }
        self.begun.extend(&piece.finished);
        self.ended.extend(&piece.finished);
        if piece.finished.is_empty() {
            out.extend_from_slice(&piece.with(&texts)?);
            return Ok(());
        }
        // What this piece adds comes before the end that it tells.
        for ((slot, _), text) in piece.texts.iter().zip(&mut texts) {
            let text = std::mem::take(text);
            self.say(*slot, &text, out);
        }
        for choice in &piece.finished {
            self.finish(gate, asking, Some(*choice), out).await;
        }
        out.extend_from_slice(&piece.with(&texts)?);
        Ok(())
    }

    /// Sends text through the stages.
    fn push(&mut self, gate: &Gate, slot: Slot, text: String) -> String {
        let rules = &self.rules;
        let stages = self.texts.entry(slot).or_insert_with(|| rules.iter().map(Stage::new).collect());
        let mut text = text;
        for stage in stages {
            let passed = stage.push(text);
            let rule = stage.rule().clone();
            text = taken(gate, &rule, passed, (&mut self.notes, &mut self.refusal));
        }
        if self.refusal.is_some() { String::new() } else { text }
    }

    /// The texts of a choice, or of all, are at their end.
    async fn finish(&mut self, gate: &Gate, asking: &Asking, choice: Option<u64>, out: &mut BytesMut) {
        let slots: Vec<Slot> =
            self.texts.keys().filter(|slot| choice.is_none_or(|choice| slot.choice == choice)).copied().collect();
        for slot in slots {
            let mut text = String::new();
            for mut stage in self.texts.remove(&slot).unwrap_or_default() {
                let rule = stage.rule().clone();
                let passed = stage.push(text);
                text = taken(gate, &rule, passed, (&mut self.notes, &mut self.refusal));
                text.push_str(&self.last(gate, asking, &rule, stage).await);
            }
            self.say(slot, &text, out);
        }
    }

    async fn last(&mut self, gate: &Gate, asking: &Asking, rule: &Arc<Rule>, stage: Stage) -> String {
        match stage.finish() {
            Last::Passed(passed) => taken(gate, rule, passed, (&mut self.notes, &mut self.refusal)),
            Last::Look(_) if self.refusal.is_some() => String::new(),
            Last::Look(whole) => {
                let at = (Point::ModelOut, &self.capability);
                let content = Content::Text(whole);
                match gate.look(asking, rule, at, &content, &mut self.notes).await {
                    Err(refusal) => {
                        self.refusal.get_or_insert(refusal);
                        String::new()
                    }
                    Ok(_) if !rule.is_in_the_way() => String::new(),
                    Ok(changed) => changed.unwrap_or(content).into_string(),
                }
            }
        }
    }

    fn say(&self, slot: Slot, text: &str, out: &mut BytesMut) {
        if !text.is_empty() && self.refusal.is_none() {
            out.extend_from_slice(&self.reader.saying(slot, text));
        }
    }
}

/// Writes down what a stage did, and gives what goes on.
fn taken(gate: &Gate, rule: &Rule, passed: Passed, (notes, refusal): (&mut Notes, &mut Option<Refusal>)) -> String {
    let Passed { text, noted, is_blocked } = passed;
    if let Some(guarded) = noted {
        if is_blocked {
            refusal.get_or_insert_with(|| rule.refusal(&guarded));
        }
        gate.noted(notes, rule, guarded);
    }
    text
}
