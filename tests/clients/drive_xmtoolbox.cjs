// Program that drives xmtoolbox: `node drive_xmtoolbox.cjs NODE_MODULES`.
//
// It reads one JSON object from standard input: `url`, `user`, `pass`, and `calls`. A call is a list: the name of a
// module of xmtoolbox, the name of a function, and the function's arguments after the environment. It writes a list
// with one outcome for each call: {value}, or {error, status, message} if the function failed.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const xmtoolbox = require(path.join(process.argv[2], 'xmtoolbox'));

async function outcome(environment, [module, name, ...given]) {
  try {
    return { value: await xmtoolbox[module][name](environment, ...given) };
  } catch (error) {
    return { error: error.name, status: error.statusCode, message: error.message };
  }
}

async function main() {
  const said = JSON.parse(fs.readFileSync(0, 'utf8'));
  const environment = xmtoolbox.environments.create('sandbox', said.user, said.pass, { logLevel: 'silent' });
  environment.baseUrl = said.url;
  const outcomes = [];
  for (const call of said.calls) outcomes.push(await outcome(environment, call));
  process.stdout.write(JSON.stringify(outcomes));
}

main();
