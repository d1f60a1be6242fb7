// The official TypeScript client of Agent2Agent 0.3 against the gateway, by the binding that the environment names.
import { agent, check, context, open, refused } from './harness.mjs';

const message = (text, more = {}) => ({
  message: { messageId: 'm1', role: 'user', kind: 'message', parts: [{ kind: 'text', text }], contextId: context, ...more },
  configuration: { blocking: true },
});

// The definition of 0.3 has no place for the agent's name.
const named = { 'portcullis-agent': agent };
const client = await open(process.env.PORTCULLIS_KEY, named);
const other = await open(process.env.PORTCULLIS_OTHER_KEY, named);
const said = await client.sendMessage(message('direct hi'));
check('a message is answered by a message', said.parts[0].text === 'echo direct hi', said);
check('in the same context', said.contextId === context, said);
const events = [];
for await (const event of client.sendMessageStream(message('hello'))) events.push(event);
check('a stream has several events', events.length > 2, events);
const done = await client.getTask({ id: events[0].id });
check('a task is done', done.status.state === 'completed', done);
check('and has made something', done.artifacts[0].parts[0].text === 'echo hello', done);
const waiting = await client.sendMessage(message('wait'));
check('a task waits', waiting.status.state === 'input-required', waiting);
await refused('nobody else finds it', other.getTask({ id: waiting.id }), 'TaskNotFound');
await refused('or cancels it', other.cancelTask({ id: waiting.id }), 'TaskNotFound');
const more = await client.sendMessage(message('more', { taskId: waiting.id }));
check('it goes on with a second message', more.id === waiting.id && more.status.state === 'completed', more);
const second = await client.sendMessage(message('wait'));
const cancelled = await client.cancelTask({ id: second.id });
check('a task is cancelled', cancelled.status.state === 'canceled', cancelled);
