//! The messages of `a2a.v1`, the Protocol Buffers of 0.3: numbers, names and kinds as its definition has them. Parts, which the definition does not demand, are written always: readers of JSON do.

use crate::frame::proto::Kind::{Bool, Bytes, Enum, Int32, One, Struct, Text, Timestamp};
use crate::frame::proto::{Field, Message};

static TASK_STATE: &[&str] = &[
    "TASK_STATE_UNSPECIFIED",
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELLED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
];

static ROLE: &[&str] = &["ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT"];

static SEND_MESSAGE_CONFIGURATION: Message = Message {
    fields: &[
        Field::new(1, "acceptedOutputModes", Text).many(),
        Field::new(2, "pushNotification", One(&PUSH_NOTIFICATION_CONFIG)),
        Field::new(3, "historyLength", Int32),
        Field::new(4, "blocking", Bool),
    ],
};

pub(super) static TASK: Message = Message {
    fields: &[
        Field::new(1, "id", Text),
        Field::new(2, "contextId", Text),
        Field::new(3, "status", One(&TASK_STATUS)),
        Field::new(4, "artifacts", One(&ARTIFACT)).many(),
        Field::new(5, "history", One(&MESSAGE)).many(),
        Field::new(6, "metadata", Struct),
    ],
};

static TASK_STATUS: Message = Message {
    fields: &[
        Field::new(1, "state", Enum(TASK_STATE)),
        Field::new(2, "message", One(&MESSAGE)),
        Field::new(3, "timestamp", Timestamp),
    ],
};

static PART: Message = Message {
    fields: &[
        Field::new(1, "text", Text).one_of(),
        Field::new(2, "file", One(&FILE_PART)).one_of(),
        Field::new(3, "data", One(&DATA_PART)).one_of(),
        Field::new(4, "metadata", Struct),
    ],
};

static FILE_PART: Message = Message {
    fields: &[
        Field::new(1, "fileWithUri", Text).one_of(),
        Field::new(2, "fileWithBytes", Bytes).one_of(),
        Field::new(3, "mimeType", Text),
        Field::new(4, "name", Text),
    ],
};

static DATA_PART: Message = Message { fields: &[Field::new(1, "data", Struct)] };

static MESSAGE: Message = Message {
    fields: &[
        Field::new(1, "messageId", Text),
        Field::new(2, "contextId", Text),
        Field::new(3, "taskId", Text),
        Field::new(4, "role", Enum(ROLE)),
        Field::new(5, "content", One(&PART)).many().always(),
        Field::new(6, "metadata", Struct),
        Field::new(7, "extensions", Text).many(),
    ],
};

static ARTIFACT: Message = Message {
    fields: &[
        Field::new(1, "artifactId", Text),
        Field::new(3, "name", Text),
        Field::new(4, "description", Text),
        Field::new(5, "parts", One(&PART)).many().always(),
        Field::new(6, "metadata", Struct),
        Field::new(7, "extensions", Text).many(),
    ],
};

static TASK_STATUS_UPDATE_EVENT: Message = Message {
    fields: &[
        Field::new(1, "taskId", Text),
        Field::new(2, "contextId", Text),
        Field::new(3, "status", One(&TASK_STATUS)),
        Field::new(4, "final", Bool),
        Field::new(5, "metadata", Struct),
    ],
};

static TASK_ARTIFACT_UPDATE_EVENT: Message = Message {
    fields: &[
        Field::new(1, "taskId", Text),
        Field::new(2, "contextId", Text),
        Field::new(3, "artifact", One(&ARTIFACT)),
        Field::new(4, "append", Bool),
        Field::new(5, "lastChunk", Bool),
        Field::new(6, "metadata", Struct),
    ],
};

static PUSH_NOTIFICATION_CONFIG: Message = Message {
    fields: &[
        Field::new(1, "id", Text),
        Field::new(2, "url", Text),
        Field::new(3, "token", Text),
        Field::new(4, "authentication", One(&AUTHENTICATION_INFO)),
    ],
};

static AUTHENTICATION_INFO: Message =
    Message { fields: &[Field::new(1, "schemes", Text).many(), Field::new(2, "credentials", Text)] };

static AGENT_INTERFACE: Message = Message { fields: &[Field::new(1, "url", Text), Field::new(2, "transport", Text)] };

pub(super) static AGENT_CARD: Message = Message {
    fields: &[
        Field::new(16, "protocolVersion", Text),
        Field::new(1, "name", Text),
        Field::new(2, "description", Text),
        Field::new(3, "url", Text),
        Field::new(14, "preferredTransport", Text),
        Field::new(15, "additionalInterfaces", One(&AGENT_INTERFACE)).many(),
        Field::new(4, "provider", One(&AGENT_PROVIDER)),
        Field::new(5, "version", Text),
        Field::new(6, "documentationUrl", Text),
        Field::new(7, "capabilities", One(&AGENT_CAPABILITIES)),
        Field::new(8, "securitySchemes", One(&SECURITY_SCHEME)).map(),
        Field::new(9, "security", One(&SECURITY)).many(),
        Field::new(10, "defaultInputModes", Text).many(),
        Field::new(11, "defaultOutputModes", Text).many(),
        Field::new(12, "skills", One(&AGENT_SKILL)).many(),
        Field::new(13, "supportsAuthenticatedExtendedCard", Bool),
        Field::new(17, "signatures", One(&AGENT_CARD_SIGNATURE)).many(),
        Field::new(18, "iconUrl", Text),
    ],
};

static AGENT_PROVIDER: Message = Message { fields: &[Field::new(1, "url", Text), Field::new(2, "organization", Text)] };

static AGENT_CAPABILITIES: Message = Message {
    fields: &[
        Field::new(1, "streaming", Bool),
        Field::new(2, "pushNotifications", Bool),
        Field::new(3, "extensions", One(&AGENT_EXTENSION)).many(),
    ],
};

static AGENT_EXTENSION: Message = Message {
    fields: &[
        Field::new(1, "uri", Text),
        Field::new(2, "description", Text),
        Field::new(3, "required", Bool),
        Field::new(4, "params", Struct),
    ],
};

static AGENT_SKILL: Message = Message {
    fields: &[
        Field::new(1, "id", Text),
        Field::new(2, "name", Text),
        Field::new(3, "description", Text),
        Field::new(4, "tags", Text).many(),
        Field::new(5, "examples", Text).many(),
        Field::new(6, "inputModes", Text).many(),
        Field::new(7, "outputModes", Text).many(),
        Field::new(8, "security", One(&SECURITY)).many(),
    ],
};

static AGENT_CARD_SIGNATURE: Message = Message {
    fields: &[
        Field::new(1, "protected", Text).always(),
        Field::new(2, "signature", Text).always(),
        Field::new(3, "header", Struct),
    ],
};

pub(super) static TASK_PUSH_NOTIFICATION_CONFIG: Message = Message {
    fields: &[Field::new(1, "name", Text), Field::new(2, "pushNotificationConfig", One(&PUSH_NOTIFICATION_CONFIG))],
};

static STRING_LIST: Message = Message { fields: &[Field::new(1, "list", Text).many()] };

static SECURITY: Message = Message { fields: &[Field::new(1, "schemes", One(&STRING_LIST)).map()] };

static SECURITY_SCHEME: Message = Message {
    fields: &[
        Field::new(1, "apiKeySecurityScheme", One(&API_KEY_SECURITY_SCHEME)).one_of(),
        Field::new(2, "httpAuthSecurityScheme", One(&HTTP_AUTH_SECURITY_SCHEME)).one_of(),
        Field::new(3, "oauth2SecurityScheme", One(&OAUTH2_SECURITY_SCHEME)).one_of(),
        Field::new(4, "openIdConnectSecurityScheme", One(&OPEN_ID_CONNECT_SECURITY_SCHEME)).one_of(),
        Field::new(5, "mtlsSecurityScheme", One(&MUTUAL_TLS_SECURITY_SCHEME)).one_of(),
    ],
};

static API_KEY_SECURITY_SCHEME: Message = Message {
    fields: &[Field::new(1, "description", Text), Field::new(2, "location", Text), Field::new(3, "name", Text)],
};

static HTTP_AUTH_SECURITY_SCHEME: Message = Message {
    fields: &[Field::new(1, "description", Text), Field::new(2, "scheme", Text), Field::new(3, "bearerFormat", Text)],
};

static OAUTH2_SECURITY_SCHEME: Message = Message {
    fields: &[
        Field::new(1, "description", Text),
        Field::new(2, "flows", One(&OAUTH_FLOWS)),
        Field::new(3, "oauth2MetadataUrl", Text),
    ],
};

static OPEN_ID_CONNECT_SECURITY_SCHEME: Message =
    Message { fields: &[Field::new(1, "description", Text), Field::new(2, "openIdConnectUrl", Text)] };

static MUTUAL_TLS_SECURITY_SCHEME: Message = Message { fields: &[Field::new(1, "description", Text)] };

static OAUTH_FLOWS: Message = Message {
    fields: &[
        Field::new(1, "authorizationCode", One(&AUTHORIZATION_CODE_OAUTH_FLOW)).one_of(),
        Field::new(2, "clientCredentials", One(&CLIENT_CREDENTIALS_OAUTH_FLOW)).one_of(),
        Field::new(3, "implicit", One(&IMPLICIT_OAUTH_FLOW)).one_of(),
        Field::new(4, "password", One(&PASSWORD_OAUTH_FLOW)).one_of(),
    ],
};

static AUTHORIZATION_CODE_OAUTH_FLOW: Message = Message {
    fields: &[
        Field::new(1, "authorizationUrl", Text),
        Field::new(2, "tokenUrl", Text),
        Field::new(3, "refreshUrl", Text),
        Field::new(4, "scopes", Text).map(),
    ],
};

static CLIENT_CREDENTIALS_OAUTH_FLOW: Message = Message {
    fields: &[Field::new(1, "tokenUrl", Text), Field::new(2, "refreshUrl", Text), Field::new(3, "scopes", Text).map()],
};

static IMPLICIT_OAUTH_FLOW: Message = Message {
    fields: &[
        Field::new(1, "authorizationUrl", Text),
        Field::new(2, "refreshUrl", Text),
        Field::new(3, "scopes", Text).map(),
    ],
};

static PASSWORD_OAUTH_FLOW: Message = Message {
    fields: &[Field::new(1, "tokenUrl", Text), Field::new(2, "refreshUrl", Text), Field::new(3, "scopes", Text).map()],
};

pub(super) static SEND_MESSAGE_REQUEST: Message = Message {
    fields: &[
        Field::new(1, "message", One(&MESSAGE)),
        Field::new(2, "configuration", One(&SEND_MESSAGE_CONFIGURATION)),
        Field::new(3, "metadata", Struct),
    ],
};

pub(super) static GET_TASK_REQUEST: Message =
    Message { fields: &[Field::new(1, "name", Text).always(), Field::new(2, "historyLength", Int32)] };

pub(super) static CANCEL_TASK_REQUEST: Message = Message { fields: &[Field::new(1, "name", Text)] };

pub(super) static GET_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST: Message =
    Message { fields: &[Field::new(1, "name", Text)] };

pub(super) static DELETE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST: Message =
    Message { fields: &[Field::new(1, "name", Text)] };

pub(super) static CREATE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST: Message = Message {
    fields: &[
        Field::new(1, "parent", Text).always(),
        Field::new(2, "configId", Text).always(),
        Field::new(3, "config", One(&TASK_PUSH_NOTIFICATION_CONFIG)),
    ],
};

pub(super) static TASK_SUBSCRIPTION_REQUEST: Message = Message { fields: &[Field::new(1, "name", Text)] };

pub(super) static LIST_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST: Message = Message {
    fields: &[Field::new(1, "parent", Text), Field::new(2, "pageSize", Int32), Field::new(3, "pageToken", Text)],
};

pub(super) static GET_AGENT_CARD_REQUEST: Message = Message { fields: &[] };

pub(super) static SEND_MESSAGE_RESPONSE: Message =
    Message { fields: &[Field::new(1, "task", One(&TASK)).one_of(), Field::new(2, "message", One(&MESSAGE)).one_of()] };

pub(super) static STREAM_RESPONSE: Message = Message {
    fields: &[
        Field::new(1, "task", One(&TASK)).one_of(),
        Field::new(2, "message", One(&MESSAGE)).one_of(),
        Field::new(3, "statusUpdate", One(&TASK_STATUS_UPDATE_EVENT)).one_of(),
        Field::new(4, "artifactUpdate", One(&TASK_ARTIFACT_UPDATE_EVENT)).one_of(),
    ],
};

pub(super) static LIST_TASK_PUSH_NOTIFICATION_CONFIG_RESPONSE: Message = Message {
    fields: &[
        Field::new(1, "configs", One(&TASK_PUSH_NOTIFICATION_CONFIG)).many(),
        Field::new(2, "nextPageToken", Text),
    ],
};

pub(super) static EMPTY: Message = Message { fields: &[] };
