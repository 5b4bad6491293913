/*
 * The script of a custom step in xMatters' Flow Designer, behind each of an alert's activity triggers. README.md,
 * beside this file, says where it goes and what to map to which input.
 *
 * It tells the relay what somebody did, or what became of a page: version 1 of the flow JSON. It throws when the relay
 * has not taken it, so that the Activity panel shows the step as failed and says why; the words never hold the token.
 *
 * The language is ECMAScript 5.1, which runs in xMatters' cloud and on an xMatters Agent alike.
 */

// The name of the endpoint whose base URL is the API's, as https://abc123.execute-api.eu-west-1.amazonaws.com
var ENDPOINT = 'Relay';
var KINDS = ['response', 'annotation', 'status', 'delivery', 'escalation', 'failure'];
var MAX_WORDS = 500;

(function () {
  // The constant RelayToken; without it nothing is sent, and the endpoint's own authentication counts.
  var token = typeof constants === 'undefined' ? '' : given(constants.RelayToken);

  function fail(words) {
    // Nothing that comes from elsewhere may carry the token along. Redacted before it is cut: half a token is one, too.
    throw new Error('Relay: ' + (token ? words.split(token).join('[token]') : words).slice(0, MAX_WORDS));
  }

  // A value that is there, else an empty string: what a trigger does not have may arrive as the word null, or as the
  // variable's own name.
  function given(value) {
    var text = value === null || value === undefined ? '' : String(value).trim();
    return /^(null|undefined|\$\{[^}]*\})$/.test(text) ? '' : text;
  }

  // An object of those members that are there; null when none is.
  function members(pairs) {
    var found = null;
    pairs.forEach(function (pair) {
      if (pair[1]) {
        found = found || {};
        found[pair[0]] = pair[1];
      }
    });
    return found;
  }

  function read(name) {
    return given(input[name]);
  }

  function flow() {
    var kind = read('Kind').toLowerCase();
    if (KINDS.indexOf(kind) < 0) {
      fail('the input Kind must be one of ' + KINDS.join(', '));
    }
    var body = members([
      ['relay', 1],
      ['kind', kind],
      ['incident_id', read('Incident ID')],
      ['environment_id', read('Environment ID')],
      ['event', members([['id', read('Event ID')], ['number', read('Event Number')]])],
      ['person', members([
        ['target', read('Target')],
        ['first_name', read('First Name')],
        ['last_name', read('Last Name')],
        ['email', read('Email')]
      ])],
      ['device', read('Device')],
      ['response', read('Response')],
      ['note', read('Note')],
      ['status', read('Status')],
      ['delivery_status', read('Delivery Status')],
      ['group', read('Group')],
      ['reason', read('Reason')],
      ['at', read('At')]
    ]);
    if (!body.incident_id) {
      fail('map Incident ID, or the relay cannot tell which incident this is about');
    }
    return body;
  }

  function path() {
    var wanted = read('Path');
    if (!/^\/[^\s?#]*$/.test(wanted)) {
      fail('the input Path must be a path, as /v1/xmatters/payments');
    }
    return wanted;
  }

  // The relay's status, 0 when there was no answer, and what it said.
  function post(to, body) {
    var headers = { 'Content-Type': 'application/json' };
    if (token) {
      headers.Authorization = 'Bearer ' + token;
    }
    try {
      var answer = http.request({ endpoint: ENDPOINT, method: 'POST', path: to, headers: headers }).write(body);
      return { status: Number(answer.statusCode) || 0, said: given(answer.body) };
    } catch (error) {
      return { status: 0, said: String(error && error.message) };
    }
  }

  // Once more is worth it, and does no harm: the relay takes the same callback twice.
  function isPassing(status) {
    return status === 0 || status === 429 || status >= 500;
  }

  function hint(status) {
    if (status === 0) {
      return 'no answer; is the base URL of the endpoint ' + ENDPOINT + ' the API\'s?';
    }
    if (status === 401) {
      return 'refused; does the constant RelayToken, or the endpoint\'s authentication, match xmatters.callback of the ' +
        'channel that the input Path ends with?';
    }
    // API Gateway answers 403 to an unknown path, and to an address that the stack does not let in.
    if (status === 403 || status === 404) {
      return 'no such path; is the input Path right, and may xMatters call the API (AllowedSourceCidrs, WebAclArn)?';
    }
    return 'not taken';
  }

  var to = path();
  var body = JSON.stringify(flow());
  var answer = post(to, body);
  if (isPassing(answer.status)) {
    console.log('Relay: status ' + answer.status + ', trying once more');
    answer = post(to, body);
  }
  output['Status Code'] = String(answer.status);
  if (answer.status < 200 || answer.status > 299) {
    fail(hint(answer.status) + ' (status ' + answer.status + ') ' + answer.said);
  }
  console.log('Relay: told, status ' + answer.status);
}());
