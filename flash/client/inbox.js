// @ts-check
/**
 * Holds the events that the link has brought, and handles them in their order, in slices of a few milliseconds.
 *
 * The first slice comes with the next frame; if events are left, the next slice follows as soon as the browser has
 * handled the user's input and drawn. The updates of a stream go to `updates.js`, and the next event waits until that
 * has taken all of them into a batch. `lastApplied` is the id of the last event whose updates are all in the layout: it
 * is what the page acknowledges.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {Exclude<keyof Events, 'over'>} Queued  the name of an event that waits for its turn
 * @typedef {{[Name in Queued]: (data: Events[Name]) => void}} Handlers  what is done with each event
 * @typedef {{type: string, data?: string, lastEventId: string}} Incoming  an event as an EventSource brings it
 * @typedef {{name: Queued, text: string, data: any, id: string}} Received  an event, and its data once parsed
 * @typedef {object} InboxCalls  what the inbox calls of the link
 * @property {Omit<Handlers, 'props'>} handlers  for every event but `props`, whose updates the inbox passes on itself
 * @property {() => boolean} hasLife  whether the page has a life, which only `hello` gives it
 * @property {() => void} afterSlice  called after each slice
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, updates, streams, busyComponents, onNextFrame} = flash;
    const {onChange} = flash.renderer;

    /** Milliseconds that a slice takes: half a frame. */
    const SLICE = 8;

    /** The events that wait for their turn. @type {Received[]} */
    let queue = [];
    /** The id of the last event that has come. */
    let received = '';
    /** The id of the last event that was handled: its updates may not all be applied yet. */
    let handled = '';
    /** The id of the event that was handled before that one: its updates are all applied, or in the batch. */
    let previousHandled = '';
    /** Cancels the slice that is to come with the next frame; null if none is. @type {(() => void) | null} */
    let cancelFrame = null;
    /** Whether a slice is to come that waits for no frame. */
    let comesAtOnce = false;
    /** A message to itself: it comes when other tasks of the page have had their turn. */
    const ownMessages = new MessageChannel();
    /** @type {InboxCalls} */
    let calls;
    /** @type {Handlers} */
    let handlers;

    /**
     * The page has got its token: make ready for its events.
     * @param {InboxCalls} given
     */
    function begin(given) {
        calls = given;
        handlers = {...given.handlers, props: applyProps};
        ownMessages.port1.onmessage = runSlice;
        document.addEventListener('visibilitychange', scheduleAtOnce);
        updates.wake = schedule;
        busyComponents.onReady(retryWaitingUpdate);
        onChange(retryWaitingUpdate);
    }

    /** What the first update waits for may have happened: try to apply it. */
    function retryWaitingUpdate() {
        if (updates.isWaiting() && !updates.applying) {
            scheduleAtOnce();
        }
    }

    /**
     * The link has brought an event.
     * @param {Incoming} event
     */
    function receive({type, data: text, lastEventId: id}) {
        if (text === undefined) {
            // EventSource has an `open` of its own, which is not the server's.
            return;
        }
        inbox.receivedAt = Date.now();
        const name = /** @type {Queued} */ (type);
        if (wire.follows(id, received)) {
            received = id;
        } else if (wire.isNumbered(name)) {
            // A new link brings again what has come over the one before.
            return;
        }
        let data;
        if (name === 'end') {
            data = wire.parse(name, text);
            dropUpdates(data);
        }
        queue.push({name, text, data, id});
        schedule();
    }

    /** Have a slice come with the next frame, or at once if the page is hidden and no update has to wait. */
    function schedule() {
        if (document.hidden && !updates.isWaiting()) {
            scheduleAtOnce();
        } else {
            cancelFrame ??= onNextFrame(runSlice);
        }
    }

    /** Have a slice come that waits for no frame, only for other tasks of the page. */
    function scheduleAtOnce() {
        if (!comesAtOnce) {
            comesAtOnce = true;
            ownMessages.port2.postMessage(null);
        }
    }

    /** The id of the last event that has come; '' if none has in the page's life. */
    function lastReceived() {
        return received;
    }

    /** The page's life is over, and what was handled of it. The events that still wait are of the next life. */
    function forgetHandled() {
        handled = previousHandled = inbox.lastApplied = '';
    }

    /** Drop the events that wait: their life is over, too. */
    function dropWaiting() {
        queue = [];
        received = '';
    }

    /**
     * Drop the updates of a stream that was cut short: they need not be applied any more.
     * @param {Ending} ending
     */
    function dropUpdates({stream, reason}) {
        if (reason !== wire.REASONS.COMPLETED && reason !== wire.REASONS.FAILED) {
            const prefix = wire.streamPrefix(stream);
            queue = queue.filter(({name, text}) => name !== 'props' || !text.startsWith(prefix));
            updates.drop(stream);
        }
    }

    /** Handle events for the time of a slice. It also ends where an update has to wait: see `updates.js`. */
    function runSlice() {
        cancelFrame?.();
        cancelFrame = null;
        comesAtOnce = false;
        const deadline = performance.now() + SLICE;
        while (updates.run(deadline) && queue.length > 0 && performance.now() < deadline) {
            handle(/** @type {Received} */ (queue.shift()));
        }
        const isAllApplied = applyHandled(deadline);
        calls.afterSlice();
        if (updates.isWaiting()) {
            schedule();
        } else if (queue.length > 0 || !isAllApplied) {
            scheduleAtOnce();
        }
    }

    /**
     * Apply the updates of the events that were handled, as far as there is time; says whether that was all.
     * @param {number} deadline  on the clock of `performance`
     */
    function applyHandled(deadline) {
        const isAllApplied = updates.run(deadline);
        updates.commit();
        inbox.lastApplied = isAllApplied ? handled : previousHandled;
        return isAllApplied;
    }

    /**
     * Handle an event. The updates of the events before it are in a batch or applied.
     * @param {Received} event
     */
    function handle({name, text, data, id}) {
        if (!calls.hasLife() && name !== 'hello') {
            return;
        }
        if (name === 'ping') {
            // It asks for the last event applied: apply all that was handled before the answer.
            applyHandled(Infinity);
        }
        previousHandled = handled;
        try {
            handlers[name](data ?? wire.parse(name, text));
        } catch (error) {
            console.error(`Flash: an event could not be handled: ${name}.`, error);
        }
        // The id of a `hello` or a `ping` may be that of an earlier event.
        if (calls.hasLife() && id !== '' && wire.follows(id, handled)) {
            handled = id;
        }
    }

    /**
     * `props`: a stream has sent updates. Those that come after its end are dropped.
     * @param {PropsOfStream} event
     */
    function applyProps({stream, props}) {
        const opening = streams.running.get(stream);
        if (opening !== undefined) {
            updates.put(props, opening);
            streams.noteUpdates(opening, props);
        }
    }

    const inbox = {
        begin,
        receive,
        lastReceived,
        forgetHandled,
        dropWaiting,
        /** The id of the last event whose updates are all in the layout; '' if there is none in the page's life. */
        lastApplied: '',
        /** When the last event came, on the wall clock. */
        receivedAt: 0
    };
    Object.assign(flash, {inbox});
})();
