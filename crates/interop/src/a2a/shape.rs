//! Where things stand in the protocol's objects: what of a JSON text are ids, and where other objects begin.
//!
//! One table serves both versions: they call the same things by the same names, and what only one of them knows does no harm
//! in the other. Beyond these places nothing is read; metadata and data are the client's own.

use crate::a2a::method::Method;
use crate::a2a::version::Version;

/// An object of the protocol.
pub(super) struct Shape(pub(super) &'static [(&'static str, Place)]);

/// What stands under a name.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Something that only its reader knows.
    Plain,
    /// The id of a task.
    Task,
    /// Several of them.
    Tasks,
    /// The id of a context.
    Context,
    /// An object.
    One(&'static Shape),
    /// An array of objects.
    Many(&'static Shape),
}

use Place::{Context, Many, One, Plain, Task, Tasks};

static FILE: Shape = Shape(&[
    ("bytes", Plain),
    ("uri", Plain),
    ("mimeType", Plain),
    ("name", Plain),
    ("fileWithUri", Plain),
    ("fileWithBytes", Plain),
]);

static PART: Shape = Shape(&[
    ("kind", Plain),
    ("text", Plain),
    ("raw", Plain),
    ("url", Plain),
    ("data", Plain),
    ("file", One(&FILE)),
    ("metadata", Plain),
    ("filename", Plain),
    ("mediaType", Plain),
]);

pub(super) static MESSAGE: Shape = Shape(&[
    ("messageId", Plain),
    ("contextId", Context),
    ("taskId", Task),
    ("role", Plain),
    ("parts", Many(&PART)),
    ("content", Many(&PART)),
    ("metadata", Plain),
    ("extensions", Plain),
    ("referenceTaskIds", Tasks),
    ("kind", Plain),
]);

static STATUS: Shape =
    Shape(&[("state", Plain), ("message", One(&MESSAGE)), ("update", One(&MESSAGE)), ("timestamp", Plain)]);

static ARTIFACT: Shape = Shape(&[
    ("artifactId", Plain),
    ("name", Plain),
    ("description", Plain),
    ("parts", Many(&PART)),
    ("metadata", Plain),
    ("extensions", Plain),
]);

pub(super) static TASK: Shape = Shape(&[
    ("id", Task),
    ("contextId", Context),
    ("status", One(&STATUS)),
    ("artifacts", Many(&ARTIFACT)),
    ("history", Many(&MESSAGE)),
    ("metadata", Plain),
    ("kind", Plain),
]);

pub(super) static STATUS_UPDATE: Shape = Shape(&[
    ("taskId", Task),
    ("contextId", Context),
    ("status", One(&STATUS)),
    ("final", Plain),
    ("metadata", Plain),
    ("kind", Plain),
]);

pub(super) static ARTIFACT_UPDATE: Shape = Shape(&[
    ("taskId", Task),
    ("contextId", Context),
    ("artifact", One(&ARTIFACT)),
    ("append", Plain),
    ("lastChunk", Plain),
    ("metadata", Plain),
    ("kind", Plain),
]);

/// An answer to a message, or an event of a stream, as 1.0 wraps it.
pub(super) static WRAPPED: Shape = Shape(&[
    ("task", One(&TASK)),
    ("message", One(&MESSAGE)),
    ("msg", One(&MESSAGE)),
    ("statusUpdate", One(&STATUS_UPDATE)),
    ("artifactUpdate", One(&ARTIFACT_UPDATE)),
]);

pub(super) static TASK_PAGE: Shape =
    Shape(&[("tasks", Many(&TASK)), ("nextPageToken", Plain), ("pageSize", Plain), ("totalSize", Plain)]);

static AUTHENTICATION: Shape = Shape(&[("scheme", Plain), ("schemes", Plain), ("credentials", Plain)]);

static PUSH: Shape = Shape(&[
    ("id", Plain),
    ("url", Plain),
    ("token", Plain),
    ("authentication", One(&AUTHENTICATION)),
    ("taskId", Task),
    ("tenant", Plain),
]);

/// A place for news of a task: flat in 1.0, nested in 0.3.
pub(super) static TASK_PUSH: Shape = Shape(&[
    ("id", Plain),
    ("url", Plain),
    ("token", Plain),
    ("authentication", One(&AUTHENTICATION)),
    ("taskId", Task),
    ("tenant", Plain),
    ("pushNotificationConfig", One(&PUSH)),
    ("pushNotificationConfigId", Plain),
    ("metadata", Plain),
    ("name", Plain),
    ("parent", Plain),
    ("configId", Plain),
]);

/// The request over HTTP+JSON of 0.3 that makes such a place.
pub(super) static LEGACY_PUSH_REQUEST: Shape =
    Shape(&[("parent", Plain), ("configId", Plain), ("config", One(&TASK_PUSH))]);

pub(super) static PUSH_PAGE: Shape = Shape(&[("configs", Many(&TASK_PUSH)), ("nextPageToken", Plain)]);

static CONFIGURATION: Shape = Shape(&[
    ("acceptedOutputModes", Plain),
    ("pushNotificationConfig", One(&PUSH)),
    ("taskPushNotificationConfig", One(&PUSH)),
    ("pushNotification", One(&PUSH)),
    ("historyLength", Plain),
    ("blocking", Plain),
    ("returnImmediately", Plain),
]);

pub(super) static SEND: Shape = Shape(&[
    ("message", One(&MESSAGE)),
    ("request", One(&MESSAGE)),
    ("configuration", One(&CONFIGURATION)),
    ("metadata", Plain),
    ("tenant", Plain),
]);

/// What asks about one task by its id.
pub(super) static OF_TASK: Shape =
    Shape(&[("id", Task), ("historyLength", Plain), ("metadata", Plain), ("tenant", Plain)]);

pub(super) static LIST_TASKS: Shape = Shape(&[
    ("contextId", Context),
    ("status", Plain),
    ("pageSize", Plain),
    ("pageToken", Plain),
    ("historyLength", Plain),
    ("statusTimestampAfter", Plain),
    ("includeArtifacts", Plain),
    ("tenant", Plain),
]);

/// What asks about such places in 0.3, where `id` is the task's.
pub(super) static LEGACY_PUSH_QUERY: Shape =
    Shape(&[("id", Task), ("pushNotificationConfigId", Plain), ("metadata", Plain), ("tenant", Plain)]);

/// The same in 1.0, where `id` is the place's.
pub(super) static PUSH_QUERY: Shape =
    Shape(&[("taskId", Task), ("id", Plain), ("pageSize", Plain), ("pageToken", Plain), ("tenant", Plain)]);

pub(super) static EMPTY: Shape = Shape(&[("tenant", Plain)]);

impl Shape {
    /// What a method is asked with, in that version's form.
    pub(super) fn of_params(method: Method, form: Version) -> &'static Self {
        match (method, form) {
            (Method::SendMessage | Method::SendStreamingMessage, _) => &SEND,
            (Method::GetTask | Method::CancelTask | Method::SubscribeToTask, _) => &OF_TASK,
            (Method::ListTasks, _) => &LIST_TASKS,
            (Method::CreatePushConfig, _) => &TASK_PUSH,
            (Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig, Version::V0_3) => {
                &LEGACY_PUSH_QUERY
            }
            (Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig, Version::V1_0) => &PUSH_QUERY,
            (Method::GetExtendedCard, _) => &EMPTY,
        }
    }

    /// What a method is answered with, in that version's form; `kind` is what an object of 0.3 says of itself. For an array it
    /// is the shape of each item.
    pub(super) fn of_result(method: Method, form: Version, kind: Option<&str>) -> &'static Self {
        match (method, form) {
            (Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask, Version::V1_0) => &WRAPPED,
            (Method::SendMessage | Method::SendStreamingMessage | Method::SubscribeToTask, Version::V0_3) => match kind
            {
                Some("task") => &TASK,
                Some("message") => &MESSAGE,
                Some("status-update") => &STATUS_UPDATE,
                Some("artifact-update") => &ARTIFACT_UPDATE,
                Some(_) | None => &EMPTY,
            },
            (Method::GetTask | Method::CancelTask, _) => &TASK,
            (Method::ListTasks, _) => &TASK_PAGE,
            (Method::CreatePushConfig | Method::GetPushConfig, _) | (Method::ListPushConfigs, Version::V0_3) => {
                &TASK_PUSH
            }
            (Method::ListPushConfigs, Version::V1_0) => &PUSH_PAGE,
            (Method::DeletePushConfig | Method::GetExtendedCard, _) => &EMPTY,
        }
    }
}
