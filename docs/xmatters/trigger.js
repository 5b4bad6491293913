/*
 * The script of a custom HTTP trigger in xMatters' Flow Designer. README.md, beside this file, says where it goes.
 *
 * What the flow acts on comes from the relay's header X-Relay-Decision alone: the incident, whether it is over, whom to
 * ring, how urgently. The body gives texts to show: BigPanda's own body, or the relay's own ("body": "xmatters" in the
 * channel's policy). Whoever holds the webhook's token writes BigPanda's body, so nothing in it decides. Without the
 * header BigPanda called the trigger itself, and its body decides, for there is nothing else.
 *
 * Each output is a string, for Flow Designer's inputs expect strings; what is not there is an empty one. The script never
 * throws: what fails in here fails after xMatters has accepted the signal, and the page would be lost without a trace.
 *
 * The language is ECMAScript 5.1, which runs in xMatters' cloud and on an xMatters Agent alike.
 */

// The longest text that a property of the workflow takes: 2,000 is what xMatters gives a new text property.
var PROPERTY_LIMIT = 2000;
// A text message of several parts may be lost, and a voice reads on.
// Recipients go into an input of a step, not into a property.
var LIMITS = { subject: 150, recipients: 20000 };

(function () {
  var OUTPUTS = [
    'subject', 'description', 'incident_id', 'environment_id', 'status', 'severity', 'priority', 'recipients',
    'source_systems', 'host', 'check', 'link', 'alerts_total', 'alerts_active', 'is_over', 'channel', 'page_key',
    'delivery_id', 'attempt', 'may_repeat'
  ];
  // BigPanda's own order, the worst first.
  var STATUSES = ['critical', 'warning', 'unknown', 'ok'];
  var PRIORITIES = ['HIGH', 'MEDIUM', 'LOW'];
  // One of many alerts takes no more room than this.
  var ALERT_LIMIT = 400;
  var MAX_SOURCES = 100;
  // Longer names of members are never looked up, as in the relay.
  var MAX_NAME = 64;
  // https, and BigPanda's own host or one below it; no user, no other port. The relay's own rule.
  var MAX_LINK = 500;
  var BIGPANDA_LINK = /^https:\/\/(?:[a-z0-9-]+\.)*bigpanda\.io(?::443)?(?:[\/?#][a-z0-9\-._~!$&'()*+,;=:@\/?#%]*)?$/i;

  // Reading members and values ------------------------------------------------------------------------------------

  function isArray(value) {
    return Object.prototype.toString.call(value) === '[object Array]';
  }

  function isObject(value) {
    return value !== null && typeof value === 'object' && !isArray(value);
  }

  function folded(name) {
    return name.length <= MAX_NAME ? name.replace(/[_-]/g, '').toLowerCase() : name;
  }

  // The first of the names that is there and not null. Names count without case, hyphens and underscores.
  function first(object, names) {
    var found = null;
    var rank = names.length;
    if (isObject(object)) {
      for (var name in object) {
        var at = names.indexOf(folded(name));
        if (at >= 0 && at < rank && object[name] !== null && object[name] !== undefined) {
          found = object[name];
          rank = at;
        }
      }
    }
    return found;
  }

  function scalar(value) {
    if (typeof value === 'number') {
      return isFinite(value) ? String(value) : '';
    }
    return typeof value === 'string' ? value : '';
  }

  // An id as it stands: changed, it would not lead back to its incident.
  function exact(value) {
    return scalar(value).trim() ? scalar(value) : '';
  }

  function word(value) {
    return scalar(value).trim().toLowerCase();
  }

  // Other people's text, without control characters, and without what a later step might take for a variable.
  function text(value) {
    return (isArray(value) ? value.map(scalar).join(', ') : scalar(value))
      .replace(/\r\n?/g, '\n')
      .replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, ' ')
      .replace(/\$\{/g, '$ {')
      .trim();
  }

  function line(value) {
    return text(value).replace(/\s+/g, ' ');
  }

  // true, false, or null for what says neither.
  function flag(value) {
    if (typeof value === 'boolean') {
      return value;
    }
    if (typeof value === 'number') {
      return value !== 0;
    }
    return word(value) === 'true' ? true : word(value) === 'false' ? false : null;
  }

  function cut(said, limit) {
    if (said.length <= limit) {
      return said;
    }
    // Where the cut splits a character that takes two units, its first half goes, too.
    var last = said.charCodeAt(limit - 2);
    return said.slice(0, last >= 0xd800 && last <= 0xdbff ? limit - 2 : limit - 1) + '\u2026';
  }

  function joined(parts, separator) {
    return parts.filter(function (part) { return part !== ''; }).join(separator);
  }

  // Alerts --------------------------------------------------------------------------------------------------------

  function isActive(alert) {
    var active = flag(first(alert, ['active']));
    return active === null ? word(first(alert, ['status'])) !== 'ok' : active;
  }

  // The worst first; those that are equally bad keep their order.
  function worstFirst(alerts) {
    var ranks = STATUSES.map(function () { return []; });
    alerts.filter(isObject).forEach(function (alert) {
      var at = STATUSES.indexOf(word(first(alert, ['status'])));
      ranks[at < 0 ? STATUSES.indexOf('unknown') : at].push(alert);
    });
    return Array.prototype.concat.apply([], ranks);
  }

  function tag(alert, name) {
    var tags = first(alert, ['tags']);
    if (!name || !isArray(tags)) {
      return name ? line(first(tags, [folded(name)])) : '';
    }
    var found = tags.filter(function (each) { return folded(scalar(first(each, ['name']))) === folded(name); });
    return found.length > 0 ? line(first(found[0], ['value'])) : '';
  }

  function hostOf(alert) {
    return tag(alert, 'host') || tag(alert, scalar(first(alert, ['primaryproperty'])));
  }

  function checkOf(alert) {
    return tag(alert, 'check') || tag(alert, scalar(first(alert, ['secondaryproperty'])));
  }

  function headline(state, host, check, said) {
    return joined([joined([state.toUpperCase(), host, check], ' '), said], ': ');
  }

  function described(alert) {
    return headline(
      word(first(alert, ['status'])), hostOf(alert), checkOf(alert), line(first(alert, ['description']))
    );
  }

  // As many alerts as there is room for, a line each, and how many more there are.
  function listed(alerts) {
    var room = PROPERTY_LIMIT - 30;
    var lines = [];
    var length = 0;
    for (var at = 0; at < alerts.length; at += 1) {
      var next = cut(described(alerts[at]), alerts.length > 1 ? ALERT_LIMIT : room);
      if (length + next.length > room) {
        lines.push('and ' + (alerts.length - at) + ' more');
        break;
      }
      lines.push(next);
      length += next.length + 1;
    }
    return joined(lines, '\n');
  }

  function sourcesOf(alerts) {
    var found = [];
    alerts.forEach(function (alert) {
      var name = line(first(alert, ['sourcesystem']));
      if (name && found.length < MAX_SOURCES && found.indexOf(name) < 0) {
        found.push(name);
      }
    });
    return found.join(', ');
  }

  // The incident --------------------------------------------------------------------------------------------------

  function parsed(given, what) {
    var document = null;
    try {
      document = JSON.parse(given);
    } catch (error) {
      console.log('relay: ' + what + ' is not JSON');
    }
    return isObject(document) ? document : {};
  }

  function incidentIn(document) {
    var wrapped = first(document, ['incident']);
    return isObject(wrapped) ? wrapped : document;
  }

  // What is called active, with a status that is not ok, is open: the relay's own rule.
  function isOver(incident, status) {
    var active = flag(first(incident, ['active']));
    if (active === false || status === 'ok') {
      return true;
    }
    return active !== true && flag(first(incident, ['resolved'])) === true;
  }

  // Somebody will click on it: only an address of BigPanda's passes, else the incident in its console.
  function linkOf(incident, id) {
    var links = first(incident, ['links']);
    var found = [line(first(incident, ['link']))].concat(
      (isArray(links) ? links : []).map(function (each) { return line(first(each, ['href'])); })
    ).filter(function (each) { return each.length <= MAX_LINK && BIGPANDA_LINK.test(each); });
    if (found.length > 0) {
      return found[0];
    }
    return id ? 'https://a.bigpanda.io/#/app/overview/all/active/incidents/' + encodeURIComponent(id) : '';
  }

  // Names of users and groups, whole ones only, none twice.
  function namesOf(list) {
    var found = [];
    var length = 0;
    (isArray(list) ? list.map(scalar).join(',') : scalar(list)).split(',').forEach(function (each) {
      var name = each.trim();
      if (name && found.indexOf(name) < 0 && length + name.length < LIMITS.recipients) {
        found.push(name);
        length += name.length + 1;
      }
    });
    return found.join(',');
  }

  function namesInUrl() {
    var found = null;
    tried(function () { found = first(request.parameters, ['recipients']); });
    return found;
  }

  // One part that can't be read takes no other part with it.
  function tried(part) {
    try {
      part();
    } catch (error) {
      console.log('relay: a part of the request could not be read');
    }
  }

  // Decisions -----------------------------------------------------------------------------------------------------

  // The relay's decision. Where the header can't be read, the signal rings whom the trigger's URL names, and ends nothing.
  function relayed(header) {
    var said = parsed(header, 'the decision');
    var priority = scalar(said.priority);
    return {
      channel: scalar(said.channel),
      incident_id: scalar(said.incident_id),
      environment_id: scalar(said.environment_id),
      page_key: scalar(said.page_key),
      is_over: said.is_over === true,
      status: word(said.status),
      priority: PRIORITIES.indexOf(priority) >= 0 ? priority : 'HIGH',
      recipients: isArray(said.recipients) ? said.recipients : namesInUrl(),
      own: said.body === 'xmatters'
    };
  }

  // What BigPanda says of its incident, where it calls the trigger itself.
  function direct(document) {
    var incident = incidentIn(document);
    var status = word(first(incident, ['status']));
    var over = isOver(incident, status);
    var id = exact(first(incident, ['id'])) || exact(first(document, ['id'])) ||
      exact(first(document, ['incidentid'])) || exact(first(incident, ['incidentid']));
    return {
      channel: '',
      incident_id: id,
      environment_id: exact(first(first(document, ['metadata']), ['environmentid'])) ||
        exact(first(document, ['environmentid'])) || exact(first(incident, ['environmentid'])),
      // The relay's keys have no space in them.
      page_key: id && 'bigpanda ' + id,
      is_over: over,
      status: status,
      // What is neither critical nor over is MEDIUM: LOW may be below what a phone is set to ring for.
      priority: over ? 'LOW' : status === 'critical' ? 'HIGH' : 'MEDIUM',
      recipients: namesInUrl(),
      own: false
    };
  }

  // Outputs -------------------------------------------------------------------------------------------------------

  function set(name, value) {
    output[name] = cut(value, LIMITS[name] || PROPERTY_LIMIT);
  }

  function setTransport() {
    set('delivery_id', line(first(request.headers, ['xrelaydeliveryid'])));
    set('attempt', line(first(request.headers, ['xrelayattempt'])));
    set('may_repeat', flag(line(first(request.headers, ['xrelaymayrepeat']))) === true ? 'true' : 'false');
  }

  function setDecision(decision) {
    ['channel', 'incident_id', 'environment_id', 'page_key', 'status', 'priority'].forEach(function (name) {
      set(name, decision[name]);
    });
    // Without a key, Get Alerts might find the pages of other incidents.
    set('is_over', decision.is_over && decision.page_key ? 'true' : 'false');
    set('recipients', namesOf(decision.recipients));
  }

  function setTexts(incident, decision) {
    set('severity', word(first(incident, ['severity'])));
    setWords(incident, decision);
    set('link', linkOf(incident, decision.incident_id));
  }

  function setWords(incident, decision) {
    var given = first(incident, ['alerts']);
    var alerts = isArray(given) ? worstFirst(given) : [];
    var worst = alerts[0] || {};
    var host = line(first(incident, ['host'])) || hostOf(worst);
    var check = line(first(incident, ['check'])) || checkOf(worst);
    var title = line(first(incident, ['subject']));
    var said = title || line(first(worst, ['description'])) || line(first(incident, ['description']));
    var unnamed = said || host || check ? '' : joined(['BigPanda incident', line(decision.incident_id)], ' ');
    var state = decision.is_over ? 'resolved' : decision.status;
    set('subject', decision.own && title ? title : headline(state, host, check, said || unnamed));
    set('description', joined([text(first(incident, ['description', 'details'])), listed(alerts)], '\n') || said);
    set('host', host);
    set('check', check);
    set('source_systems', line(first(incident, ['sourcesystems', 'sourcesystem'])) || sourcesOf(alerts));
    setCounts(incident, given, alerts);
  }

  function setCounts(incident, given, alerts) {
    var counted = isArray(given);
    set('alerts_total', counted ? String(given.length) : exact(first(incident, ['alertstotal'])));
    set('alerts_active', counted ? String(alerts.filter(isActive).length) : exact(first(incident, ['alertsactive'])));
  }

  OUTPUTS.forEach(function (name) { set(name, ''); });
  tried(setTransport);
  tried(function () {
    var header = null;
    var document = {};
    tried(function () { header = first(request.headers, ['xrelaydecision']); });
    tried(function () { document = parsed(request.body, 'the body'); });
    var decision = header === null ? direct(document) : relayed(header);
    tried(function () { setDecision(decision); });
    tried(function () { setTexts(decision.own ? first(document, ['properties']) : incidentIn(document), decision); });
  });
}());
