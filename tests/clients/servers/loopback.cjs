// Preload (node -r) for sample servers that would listen on every interface: binds bare ports to loopback only. They also expect Web Crypto as a
// global, which Debian's Node 18 does not have.
const { webcrypto } = require('node:crypto');
const { Server } = require('node:net');

globalThis.crypto ??= webcrypto;

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const bare = /^\d+$/.test(String(port)) && typeof rest[0] !== 'string';
  return listen.call(this, port, ...(bare ? ['127.0.0.1', ...rest] : rest));
};
