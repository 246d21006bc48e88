// @ts-check
/**
 * Opens what brings the page its events: the hub that the browser has for all its pages, or an EventSource of its own.
 *
 * A browser has six connections to a host over HTTP/1.1, for all its tabs. There the pages share one link, which their
 * hub holds: see `hub.js`. Over HTTP/2 and HTTP/3 each page has a link of its own. So it has where the browser has no
 * SharedWorker, where a content security policy forbids it, and where no hub answers; the console says so, once.
 *
 * A hub may end without a word: with the tab in whose process it runs, or because a phone needs the memory. The page
 * notices it in two ways. Where there are locks, it waits for the lock that the hub holds. And it asks the hub every
 * `BEAT_INTERVAL` whether it is there. A page whose hub is gone or silent starts another one. It does without a hub for
 * good if its first one, or the one that it has started in place of another, never answers.
 *
 * `HubSource` has the interface of the browser's `EventSource`, so the rest of the page need not know which of the two
 * it has.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{turn: number, last: string, ticket: string | null}} Beginning  of a link: the page's turn, the id of the
 *     last event that has come ('' if none has), and a ticket
 * @typedef {EventTarget & {readyState: number, onerror: ((event: Event) => void) | null, close: () => void}} LinkSource
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, renderer, requests} = flash;

    /** Milliseconds after which an EventSource has asked for its connection: it does so in a later task. */
    const ASK_DELAY = 10;
    /** Milliseconds that a page waits to hear that its hub has a connection. */
    const HUB_TIMEOUT = 2_000;
    /** Milliseconds between two questions to the hub whether it is there. */
    const BEAT_INTERVAL = 500;
    /** The number of questions that may go unanswered. The first ones wait for the hub to be loaded. */
    const MISSED_BEATS = 5;
    /** Milliseconds for which the page waits for its lock before it announces itself. */
    const LOCK_TIMEOUT = 1_000;
    /** Milliseconds, at most, after which a page whose life is over begins another: not all pages at once. */
    const NEXT_LIFE_DELAY = 1_000;

    /** The last part of the address of the hub's script; '' if there is none, or the hub was given up. */
    let script = '';
    /** The way to the hub; null while there is none. @type {MessagePort | null} */
    let port = null;
    /** What brings the page its events over the hub; null while nothing does. @type {HubSource | null} */
    let source = null;
    /** The name of the lock that the page holds. @type {Promise<string | null> | null} */
    let lock = null;
    /** Releases the lock. @type {() => void} */
    let releaseLock = () => undefined;
    /** Asks the hub whether it is there. @type {ReturnType<typeof setInterval> | undefined} */
    let beatTimer;
    /** Ends the wait for the hub's lock; null while the page does not wait for it. @type {AbortController | null} */
    let hubLockWait = null;
    /** The number of questions in a row that the hub has not answered. */
    let missedBeats = 0;
    /** Whether the page does without a hub if this one does not answer: true until it has answered once. */
    let isLastTry = true;
    /** The acknowledgements that the hub has not answered, by id. @type {Map<number, (answer: Answer) => void>} */
    const acknowledgements = new Map();
    let count = 0;

    /** What brings a page its events over the hub, with the interface of an EventSource. */
    class HubSource extends EventTarget {
        /** @type {number} */
        readyState = EventSource.CONNECTING;
        /** @type {((event: Event) => void) | null} */
        onerror = null;
        /** Resolved when the hub has a connection for the page. @type {Promise<void>} */
        connected;
        /** @type {() => void} */
        resolveConnected = () => undefined;

        /**
         * @param {Beginning} beginning
         * @param {() => void} onLost  called if the hub has to be given up
         */
        constructor(beginning, onLost) {
            super();
            this.beginning = beginning;
            this.onLost = onLost;
            this.connected = new Promise(resolve => (this.resolveConnected = resolve));
            setTimeout(this.resolveConnected, HUB_TIMEOUT);
            this.announce();
        }

        /** Have the hub carry the page. It must hold its lock before the hub hears of it. */
        async announce() {
            const heldLock = await (lock ??= holdLock());
            if (source === this) {
                const headers = requests.proofs();
                port?.postMessage({kind: 'carry', page: requests.page(), lock: heldLock, headers, ...this.beginning});
                this.beginning.ticket = null;
            }
        }

        /**
         * The hub has sent a message for this link.
         * @param {HubMessage} message
         */
        receive(message) {
            this.resolveConnected();
            if (message.kind === 'event') {
                this.readyState = EventSource.OPEN;
                this.beginning.last = message.lastEventId || this.beginning.last;
                this.dispatchEvent(new MessageEvent(message.type, message));
            } else {
                this.readyState = message.kind === 'refused' ? EventSource.CLOSED : EventSource.CONNECTING;
                if (message.kind === 'over') {
                    setTimeout(() => this.announce(), Math.random() * NEXT_LIFE_DELAY);
                }
                this.onerror?.(new Event('error'));
            }
        }

        close() {
            this.readyState = EventSource.CLOSED;
            this.resolveConnected();
            if (source === this) {
                port?.postMessage({kind: 'drop', page: requests.page()});
                source = null;
            }
        }
    }

    /**
     * Hold the page's lock, whose release tells the hub that the page is gone. Gives its name, or null if there are no
     * locks: browsers have them over HTTPS and on `localhost` only. The hub is told of one that comes late.
     * @returns {Promise<string | null>}
     */
    function holdLock() {
        const name = `flash ${renderer.config().prefix} ${requests.page()}`;
        /** @type {Promise<string | null>} */
        const asked = new Promise(resolve => {
            const held = () => {
                if (lock !== asked) {
                    // The page has been left meanwhile.
                    return;
                }
                resolve(name);
                // The page may have announced itself without it.
                lock = Promise.resolve(name);
                port?.postMessage({kind: 'hold', page: requests.page(), lock: name});
                return new Promise(over => (releaseLock = () => over(undefined)));
            };
            setTimeout(() => resolve(null), LOCK_TIMEOUT);
            (navigator.locks?.request(name, held) ?? Promise.reject()).catch(() => resolve(null));
        });
        return asked;
    }

    /** Whether the page came by a protocol with which its browser has six connections. */
    function hasFewConnections() {
        const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
        const protocol = navigation?.nextHopProtocol;
        return protocol ? protocol.startsWith('http/1') : location.protocol === 'http:';
    }

    /** Connect to the hub, which the browser starts if it does not run yet; says whether there is one. */
    function connectToHub() {
        if (port !== null) {
            return true;
        }
        if (script === '' || !hasFewConnections()) {
            return false;
        }
        try {
            const hub = new SharedWorker(requests.address(script), {name: `Flash ${renderer.config().prefix}`});
            hub.onerror = () => port === hub.port && giveUp('it could not be loaded');
            hub.port.onmessage = ({data}) => port === hub.port && receive(data);
            port = hub.port;
        } catch {
            giveUp('this browser has or allows none');
            return false;
        }
        missedBeats = 0;
        beatTimer = setInterval(askHub, BEAT_INTERVAL);
        return true;
    }

    /** Ask the hub whether it is there; after too many questions without an answer it is taken for gone. */
    function askHub() {
        if (missedBeats < MISSED_BEATS) {
            missedBeats += 1;
            port?.postMessage({kind: 'alive'});
        } else {
            missHub();
        }
    }

    /** The hub is gone or silent: try another, unless this one was the last try. */
    function missHub() {
        if (isLastTry) {
            giveUp('it does not answer');
        } else {
            isLastTry = true;
            leaveHub();
        }
    }

    /** The hub holds its lock. Wait for that, which is free when the hub is gone. */
    function waitForHubLock() {
        const wait = (hubLockWait = new AbortController());
        const gone = () => wait === hubLockWait && missHub();
        const name = `flash hub ${new URL(requests.address(script), location.href).pathname}`;
        navigator.locks?.request(name, {mode: 'shared', signal: wait.signal}, gone).catch(() => undefined);
    }

    /**
     * The hub has sent a message.
     * @param {any} message
     */
    function receive(message) {
        missedBeats = 0;
        isLastTry = false;
        if (message.holdsLock && hubLockWait === null) {
            waitForHubLock();
        }
        if (message.kind === 'answered') {
            acknowledgements.get(message.id)?.(message);
            acknowledgements.delete(message.id);
        } else if (source !== null && message.turn === source.beginning.turn) {
            source.receive(message);
        }
    }

    /**
     * Do without a hub from now on.
     * @param {string} reason
     */
    function giveUp(reason) {
        console.warn(
            `Flash: the tabs of this browser do not share a connection, which takes a SharedWorker: ${reason}. Over ` +
                'HTTP/1.1, a browser that has more than five tabs of the app open will wait for connections.'
        );
        script = '';
        leaveHub();
    }

    /** Leave the hub. If it was to bring the page its events, something else has to. */
    function leaveHub() {
        const lost = source;
        lost?.close();
        clearInterval(beatTimer);
        hubLockWait?.abort();
        hubLockWait = null;
        port?.close();
        port = null;
        acknowledgements.forEach(resolve => resolve({status: 0, ok: false, text: '', type: ''}));
        acknowledgements.clear();
        lost?.onLost();
    }

    /**
     * Open what brings the page its events.
     * @param {Beginning} beginning
     * @param {() => void} onLost  called if the hub has to be given up: the page is to open something else
     * @returns {LinkSource}
     */
    function open(beginning, onLost) {
        if (connectToHub()) {
            source = new HubSource(beginning, onLost);
            return source;
        }
        const {turn, last, ticket} = beginning;
        return new EventSource(requests.linkAddress(turn, last, ticket));
    }

    /**
     * Resolved when what was opened has asked its browser for a connection, or has one.
     * @param {LinkSource} opened
     * @returns {Promise<void>}
     */
    function whenConnectionAsked(opened) {
        return opened instanceof HubSource ? opened.connected : new Promise(resolve => setTimeout(resolve, ASK_DELAY));
    }

    /**
     * Acknowledge an event: by a request of the page's own, or by one that the hub makes for several pages.
     * @param {string} event  its id
     * @returns {Promise<Answer>}
     */
    function acknowledge(event) {
        const message = {events: {[requests.page()]: event}};
        return requests.post('ack', message, port === null ? undefined : () => overHub(event));
    }

    /**
     * Have the hub send an acknowledgement.
     * @param {string} event
     * @returns {Promise<Answer>}
     */
    function overHub(event) {
        return new Promise((resolve, reject) => {
            const id = ++count;
            const settle = (/** @type {Answer} */ answer) => {
                answer.status === 0 ? reject(new Error('The server has not answered.')) : resolve(answer);
            };
            acknowledgements.set(id, settle);
            port?.postMessage({kind: 'ack', id, page: requests.page(), event, headers: requests.proofs()});
        });
    }

    /**
     * The page is being left, and its link closed. A lock, or a way to the hub, might keep it out of the back/forward
     * cache.
     */
    function leave() {
        leaveHub();
        releaseLock();
        lock = null;
    }

    /**
     * The layout has brought the page's names.
     * @param {PageNames} names
     */
    function begin({hub}) {
        script = hub;
    }

    Object.assign(flash, {carrier: {begin, open, whenConnectionAsked, acknowledge, leave}});
})();
