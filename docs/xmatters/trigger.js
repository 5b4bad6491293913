/*
 * The script of a custom HTTP trigger in xMatters' Flow Designer. README.md, beside this file, says where it goes.
 *
 * It reads what the relay sends: BigPanda's own body in every spelling that the relay takes, or the relay's own body
 * ("body": "xmatters" in the channel's policy). Each output is a string, for Flow Designer's inputs expect strings;
 * what is not there is an empty one. It never throws: what fails in here fails after xMatters has accepted the signal,
 * and the page would be lost without a trace.
 *
 * The language is ECMAScript 5.1, which runs in xMatters' cloud and on an xMatters Agent alike.
 */

// The longest text that a property of the workflow takes: 2,000 is what xMatters gives a new text property.
var PROPERTY_LIMIT = 2000;
// The longest text that an input of a step takes. Recipients go into one, not into a property.
var INPUT_LIMIT = 20000;

(function () {
  var OUTPUTS = [
    'subject', 'description', 'incident_id', 'environment_id', 'status', 'severity', 'priority', 'recipients',
    'source_systems', 'host', 'check', 'link', 'alerts_total', 'alerts_active', 'is_over', 'delivery_id', 'attempt',
    'may_repeat'
  ];
  // BigPanda's own order, the worst first.
  var STATUSES = ['critical', 'warning', 'unknown', 'ok'];
  var PRIORITIES = ['HIGH', 'MEDIUM', 'LOW'];
  // One of many alerts takes no more room than this.
  var ALERT_LIMIT = 400;
  var MAX_SOURCES = 100;

  // Reading members and values ------------------------------------------------------------------------------------

  function isArray(value) {
    return Object.prototype.toString.call(value) === '[object Array]';
  }

  function isObject(value) {
    return value !== null && typeof value === 'object' && !isArray(value);
  }

  function folded(name) {
    return String(name).replace(/[_-]/g, '').toLowerCase();
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

  function parsed(body) {
    var document = null;
    try {
      document = JSON.parse(body);
    } catch (error) {
      console.log('relay: the body is not JSON');
    }
    return isObject(document) ? document : {};
  }

  // What is called active, with a status that is not ok, is open: the relay's own rule.
  function isOver(incident, status) {
    var said = flag(first(incident, ['isover']));
    var active = flag(first(incident, ['active']));
    if (said !== null) {
      return said;
    }
    if (active === false || status === 'ok') {
      return true;
    }
    return active !== true && flag(first(incident, ['resolved'])) === true;
  }

  // What is neither critical nor over is MEDIUM: LOW may be below what a phone is set to ring for.
  function priorityOf(wanted, status, over) {
    var said = word(wanted).toUpperCase();
    if (PRIORITIES.indexOf(said) >= 0) {
      return said;
    }
    return over ? 'LOW' : status === 'critical' ? 'HIGH' : 'MEDIUM';
  }

  // Somebody will click on it: only an https address passes, else the incident in BigPanda's console.
  function linkOf(incident, id) {
    var links = first(incident, ['links']);
    var found = [line(first(incident, ['link']))].concat(
      (isArray(links) ? links : []).map(function (each) { return line(first(each, ['href'])); })
    ).filter(function (each) { return /^https:\/\/[^\s"'<>]+$/.test(each); });
    if (found.length > 0) {
      return found[0];
    }
    return id ? 'https://a.bigpanda.io/#/app/overview/all/active/incidents/' + encodeURIComponent(id) : '';
  }

  // Names of users and groups, whole ones only, none twice.
  function namesOf(lists) {
    var found = [];
    var length = 0;
    lists.forEach(function (list) {
      (isArray(list) ? list : scalar(list).split(',')).forEach(function (each) {
        var name = scalar(isObject(each) ? first(each, ['id', 'targetname']) : each).trim();
        if (name && found.indexOf(name) < 0 && length + name.length < INPUT_LIMIT) {
          found.push(name);
          length += name.length + 1;
        }
      });
    });
    return found.join(',');
  }

  // Outputs -------------------------------------------------------------------------------------------------------

  function set(name, value) {
    output[name] = cut(value, name === 'recipients' ? INPUT_LIMIT : PROPERTY_LIMIT);
  }

  function setTransport() {
    set('delivery_id', line(first(request.headers, ['xrelaydeliveryid'])));
    set('attempt', line(first(request.headers, ['xrelayattempt'])));
    set('may_repeat', flag(line(first(request.headers, ['xrelaymayrepeat']))) === true ? 'true' : 'false');
  }

  function setRecipients(document, own) {
    set('recipients', namesOf([first(request.parameters, ['recipients']), own ? first(document, ['recipients']) : '']));
  }

  function setIncident(document, incident, own) {
    var outside = first(document, ['metadata']);
    var status = word(first(incident, ['status']));
    var over = isOver(incident, status);
    var id = exact(first(incident, ['id'])) || exact(first(document, ['id'])) ||
      exact(first(document, ['incidentid'])) || exact(first(incident, ['incidentid']));
    set('incident_id', id);
    set('environment_id', exact(first(outside, ['environmentid'])) || exact(first(document, ['environmentid'])) ||
      exact(first(incident, ['environmentid'])));
    set('status', status);
    set('severity', word(first(incident, ['severity'])));
    set('is_over', over ? 'true' : 'false');
    set('priority', priorityOf(own ? first(document, ['priority']) : '', status, over));
    setText(incident, own, over ? 'resolved' : status, id);
    set('link', linkOf(incident, id));
  }

  function setText(incident, own, state, id) {
    var given = first(incident, ['alerts']);
    var alerts = isArray(given) ? worstFirst(given) : [];
    var worst = alerts[0] || {};
    var host = line(first(incident, ['host'])) || hostOf(worst);
    var check = line(first(incident, ['check'])) || checkOf(worst);
    var title = line(first(incident, ['subject']));
    var said = title || line(first(worst, ['description'])) || line(first(incident, ['description']));
    var unnamed = said || host || check ? '' : joined(['BigPanda incident', line(id)], ' ');
    set('subject', own && title ? title : headline(state, host, check, said || unnamed));
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

  // One part that can't be read takes no other part with it.
  function tried(part) {
    try {
      part();
    } catch (error) {
      console.log('relay: a part of the request could not be read');
    }
  }

  OUTPUTS.forEach(function (name) { set(name, ''); });
  tried(setTransport);
  tried(function () {
    var document = parsed(request.body);
    var wrapped = first(document, ['incident']);
    var properties = first(document, ['properties']);
    var own = isObject(properties) && !isObject(wrapped);
    tried(function () { setRecipients(document, own); });
    tried(function () { setIncident(document, own ? properties : isObject(wrapped) ? wrapped : document, own); });
  });
}());
