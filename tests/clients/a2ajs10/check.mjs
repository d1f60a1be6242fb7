// The official TypeScript client of Agent2Agent 1.0 against the gateway, by the binding that the environment names.
import { agent, check, context, open, refused } from './harness.mjs';

const message = (text, more = {}) => ({
  message: {
    messageId: 'm1', role: 1, parts: [{ content: { $case: 'text', value: text } }], contextId: context, taskId: '',
    extensions: [], referenceTaskIds: [], metadata: undefined, ...more,
  },
  tenant: '', metadata: undefined, configuration: undefined,
});
const content = (answer) => answer.payload?.value ?? answer;

const client = await open(process.env.PORTCULLIS_KEY);
const other = await open(process.env.PORTCULLIS_OTHER_KEY);
const said = content(await client.sendMessage(message('direct hi')));
check('a message is answered by a message', said.parts[0].content.value === 'echo direct hi', said);
check('in the same context', said.contextId === context, said);
const events = [];
for await (const event of client.sendMessageStream(message('hello'))) events.push(event);
check('a stream has several events', events.length > 2, events);
const first = content(events[0]);
const done = await client.getTask({ id: first.id, tenant: '' });
check('a task is done', done.status.state === 3, done);
check('and has made something', done.artifacts[0].parts[0].content.value === 'echo hello', done);
const waiting = content(await client.sendMessage(message('wait')));
check('a task waits', waiting.status.state === 6, waiting);
await refused('nobody else finds it', other.getTask({ id: waiting.id, tenant: '' }), 'there is no task');
await refused('or cancels it', other.cancelTask({ id: waiting.id, tenant: '' }), 'there is no task');
const more = content(await client.sendMessage(message('more', { taskId: waiting.id })));
check('it goes on with a second message', more.id === waiting.id && more.status.state === 3, more);
const second = content(await client.sendMessage(message('wait')));
const cancelled = await client.cancelTask({ id: second.id, tenant: '' });
check('a task is cancelled', cancelled.status.state === 5, cancelled);
const list = (client, more = {}) => client.listTasks({
  tenant: '', contextId: '', status: 0, pageSize: 2, pageToken: '', historyLength: undefined, statusTimestampAfter: undefined,
  includeArtifacts: undefined, ...more,
});
if (agent.startsWith('old')) {
  await refused('0.3 has no lists', list(client), 'UnsupportedOperation');
} else {
  const page = await list(client);
  check('all tasks are listed newest first', page.tasks.length === 2 && page.tasks[0].id === second.id, page);
  const rest = await list(client, { pageToken: page.nextPageToken });
  check('page by page', rest.tasks[0].id === first.id && page.totalSize >= 3, [page, rest]);
  const none = await list(other);
  check('for nobody else', none.totalSize === 0 && none.nextPageToken === '', none);
}
