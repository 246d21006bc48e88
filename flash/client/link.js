// @ts-check
/**
 * The page's link: opens it, keeps it open, hands its events to the inbox, and acknowledges them.
 *
 * One link carries the events of all streams of the page, or of all pages of the browser: `carrier.js` opens it. Its
 * states are in `link_states.js`; when another is opened is decided in `reconnect.js`.
 *
 * Each link begins with `hello`, which names the life of the page's channel on the server. If it is the life that the
 * page knows, the server goes on behind the last event that the page has received, and nothing is lost. If it is
 * another, the streams of the life before are gone. So are they without a link for longer than `reconnect_grace`. In
 * both cases the page sets its props back to their known-good state. A life begins with the page's first start or its
 * first link, whichever the server gets first.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, renderer, streams, inbox, requests, carrier, conditions, mistakes, reconnect, elsewhere, resume} = flash;

    /** What an acknowledgement is answered with if the page's channel is gone, or another has come in its place. */
    const LIFE_IS_OVER = [403, 404, 409];
    /** Milliseconds in which the last events of a life that is over may still come, and be handled. */
    const LAST_EVENTS_TIMEOUT = 500;
    /** The number of intervals between pings after which the page acknowledges without having been asked. */
    const UNASKED_AFTER = 1.1;

    const link = new flash.linkStates.LinkLife();
    /** What brings the page its events. @type {LinkSource | null} */
    let source = null;
    /** When the link was asked for, on the wall clock. */
    let openedAt = Date.now();
    /** Seconds between two pings, as `hello` says; Infinity for never. */
    let ping = 15;
    /** Seconds for which the server keeps streams without a link, as `hello` says; Infinity for ever. */
    let reconnectGrace = 0;
    /**
     * The server's ticket, with which the next link is taken although the browser's cookie has changed; null for none.
     * @type {string | null}
     */
    let ticket = null;
    /** How often the page has opened a link: of two that reach the server, it takes the later one. */
    let turn = 0;
    /** The last reason for a refusal that was shown, so that it is shown once. */
    let shownReason = '';

    /** The life of the channel that the page knows; '' while it knows none. */
    let life = '';
    /** The life that the page has given up: its server may not have noticed. */
    let abandoned = '';
    /** Whether the server has been told that the page is being left. */
    let hasSaidLeave = false;
    /** Gives the life up when `reconnect_grace` is over. @type {ReturnType<typeof setTimeout> | undefined} */
    let lossTimer;

    /** The id of the last event that was acknowledged. */
    let acknowledged = '';
    /** When that was, on the wall clock. */
    let acknowledgedAt = Date.now();

    /**
     * The server does not know this page any more: begin a new life. But not at once: a server that stops ends the
     * streams before it forgets the page, and what says how they have ended may be on its way, or wait in the inbox.
     */
    function restart() {
        const over = life;
        setTimeout(() => {
            // The `hello` of another link may have begun a new life meanwhile.
            if (life === over) {
                close();
                loseStreams();
                if (link.allows('restarted')) {
                    connect('restarted');
                }
            }
        }, LAST_EVENTS_TIMEOUT);
    }

    /** The streams of the page are gone, and so are their events that wait in the inbox. */
    function loseStreams() {
        inbox.dropWaiting();
        endLife([]);
    }

    /**
     * The streams of the page are gone; the events that wait in the inbox are of the next life.
     * @param {string[]} revoked  the ids of those that the server has ended with `revoked`, as far as that is known
     */
    function endLife(revoked) {
        clearTimeout(lossTimer);
        lossTimer = undefined;
        abandoned = life || abandoned;
        life = acknowledged = '';
        inbox.forgetHandled();
        conditions.forget();
        streams.loseAll(revoked);
    }

    function close() {
        if (source !== null) {
            source.close();
            source = null;
        }
    }

    /**
     * Tell the server which event the page has applied last: it need not keep those up to there.
     * @param {boolean} isAsked  whether the server has asked for it: it is told even if it has been told before
     */
    function acknowledge(isAsked) {
        if (inbox.lastApplied === '' || (inbox.lastApplied === acknowledged && !isAsked)) {
            return;
        }
        acknowledged = inbox.lastApplied;
        acknowledgedAt = Date.now();
        const acknowledgedLife = life;
        const acknowledgeAgain = () => {
            acknowledged = '';
        };
        carrier.acknowledge(acknowledged).then((/** @type {Answer} */ {ok, status}) => {
            if (!ok) {
                acknowledgeAgain();
                if (LIFE_IS_OVER.includes(status) && life === acknowledgedLife) {
                    restart();
                }
            }
        }, acknowledgeAgain);
    }

    /** Acknowledge unasked if the server's `ping` is late: it waits in the inbox behind the events before it. */
    function acknowledgeUnasked() {
        if (Date.now() - acknowledgedAt > UNASKED_AFTER * ping * 1_000) {
            acknowledge(false);
        }
    }

    /**
     * `ping`: the server asks for an acknowledgement. It can be reached, so what could not be sent is sent, too.
     * @param {Ping} ping
     */
    function answerPing({lives}) {
        if (lives.includes(life)) {
            acknowledge(true);
        }
        conditions.sendAgain();
    }

    /**
     * `hello`: the server has taken the link.
     * @param {Hello} hello
     */
    function greet(hello) {
        reconnect.refusals.reset();
        shownReason = '';
        streams.showRefusal(null);
        ping = hello.ping ?? Infinity;
        reconnectGrace = hello.reconnect_grace ?? Infinity;
        if (hello.life === abandoned) {
            // The server has kept the life that the page has given up. Have it end that; the next life is another.
            requests.post('close', {}).catch(() => undefined);
            return;
        }
        if (hello.life !== life) {
            endLife(hello.revoked);
            life = hello.life;
        }
        resume.ask(streams.forgetLost());
        conditions.sendAgain();
        streams.resume(requests.startAgain);
    }

    /** The page has no link: its streams are lost unless it has one within `reconnect_grace`, which may be 0. */
    function startLossTimer() {
        const timeout = reconnect.lossTimeout(reconnectGrace);
        if (timeout === 0) {
            loseStreams();
        } else if (lossTimer === undefined && life !== '' && timeout < Infinity) {
            lossTimer = setTimeout(loseStreams, timeout);
        }
    }

    /**
     * What is done with each event when the inbox comes to it. `props` is the inbox's own.
     * @type {Omit<Handlers, 'props'>}
     */
    const handlers = {
        hello: greet,
        open: data => streams.open(data, conditions.change),
        end: streams.end,
        refused: streams.refuse,
        mistake: mistakes.report,
        ping: answerPing
    };

    /**
     * `hello` has come: the page has a link. `greet` handles the event when those before it have been applied; this
     * cannot wait for them.
     * @param {MessageEvent} event
     */
    function noteLinked({data}) {
        link.advance('greeted');
        const {life: linked, workers} = wire.parse('hello', data);
        elsewhere.noteLink(linked, workers);
        clearTimeout(lossTimer);
        lossTimer = undefined;
    }

    /**
     * `over`: this link does not carry the page any more.
     * @param {MessageEvent} event
     */
    function end({data}) {
        if (wire.parse('over', data).status === wire.TAKEN_OVER) {
            giveWay();
        } else {
            startLossTimer();
            reopenAfterPause();
        }
    }

    /** The server has refused the link, or ended it for good: open another one after a pause. */
    function reopenAfterPause() {
        close();
        link.advance('denied');
        // Not at once: a page that is being left loses its connection, too.
        setTimeout(retry, reconnect.refusals.next());
    }

    /** Another page has taken over the token. */
    function giveWay() {
        link.advance('taken over');
        close();
        loseStreams();
        console.warn('Flash: this page has been opened a second time; only the newer one is kept up to date.');
    }

    /**
     * Open a new link.
     * @param {LinkTrigger} trigger
     */
    function connect(trigger) {
        link.advance(trigger);
        turn += 1;
        // The server goes on behind the last event that has come, be it applied or not.
        const opened = carrier.open({turn, last: inbox.lastReceived(), ticket}, replace);
        ticket = null;
        source = opened;
        openedAt = Date.now();
        opened.addEventListener('hello', noteLinked);
        opened.addEventListener('over', end);
        for (const name of Object.keys(wire.events).filter(name => name !== 'over')) {
            opened.addEventListener(name, inbox.receive);
        }
        opened.onerror = () => {
            if (source !== opened) {
                return;
            }
            startLossTimer();
            if (opened.readyState === EventSource.CLOSED) {
                reopenAfterPause();
            } else {
                link.advance('cut');
            }
        };
    }

    /** The pause after a refusal is over. */
    async function retry() {
        await showRefusal();
        if (link.allows('retried')) {
            connect('retried');
        }
    }

    /** Open another link if nothing has come for too long. */
    function replaceIfSilent() {
        if (source !== null && reconnect.isSilent(link.state, Math.max(openedAt, inbox.receivedAt), ping)) {
            replace();
        }
    }

    /** The link may be half open, the browser's hub gone, or the link's server not the one any more: open another. */
    function replace() {
        close();
        startLossTimer();
        connect('silent');
    }

    /** Ask the server why it refuses the link, and show that. */
    async function showRefusal() {
        const {status, message, ticket: issued} = await requests.askStatus(turn);
        ticket = issued;
        if (status === wire.TAKEN_OVER && link.allows('taken over')) {
            giveWay();
            return;
        }
        if (message !== '' && message !== shownReason) {
            console.error(`Flash: no connection: ${message}`);
        }
        shownReason = message;
        streams.showRefusal(message || null);
    }

    /**
     * The layout has brought the page's names.
     * @param {PageNames} names
     */
    function begin(names) {
        if (!link.allows('begun')) {
            return;
        }
        requests.begin(names);
        carrier.begin(names);
        conditions.onUnknownPage(restart);
        inbox.begin({handlers, hasLife: () => life !== '', afterSlice: acknowledgeUnasked});
        streams.watch(conditions.change);
        mistakes.begin(streams.refuseStart);
        elsewhere.begin(() => link.state === 'open', replace);
        resume.begin();
        connect('begun');
        setInterval(replaceIfSilent, reconnect.CHECK_INTERVAL);
        document.addEventListener('visibilitychange', replaceIfSilent);
        window.addEventListener('online', replaceIfSilent);
        // Firefox cuts short what runs in a tab that is closed, once: the second listener does what the first has not.
        window.addEventListener('pagehide', leave);
        window.addEventListener('pagehide', hide);
        window.addEventListener('pageshow', show);
    }

    /** Tell the server that the page is being left, unless it has been told. */
    function leave() {
        if (!hasSaidLeave) {
            // A page that has taken over the token is still there: its channel is not to be closed.
            requests.leave(link.state !== 'replaced');
            hasSaidLeave = true;
        }
    }

    /** The page is being left. */
    function hide() {
        leave();
        if (link.allows('hidden')) {
            link.advance('hidden');
        }
        close();
        loseStreams();
        carrier.leave();
    }

    /** The page is shown: for the first time, or again, from the back/forward cache. */
    function show() {
        hasSaidLeave = false;
        if (link.allows('shown')) {
            connect('shown');
        }
        replaceIfSilent();
    }

    /**
     * Begin before the first callbacks are called; the page is drawn, and `Page` with it, only after that.
     * @returns {Promise<void>}  resolved when the page's link has asked for its connection
     */
    async function beginEarly() {
        const names = !link.allows('begun') ? undefined : renderer.component('_flash')?.props;
        if (names?.token) {
            begin(names);
        }
        if (source !== null) {
            await carrier.whenConnectionAsked(source);
        }
    }

    /**
     * The hidden component that brings the page its names.
     * @param {PageNames} props
     */
    function Page(props) {
        renderer.onceDrawn(() => begin(props));
        return null;
    }

    Object.assign(flash, {Page, link: {beginEarly}});
})();
