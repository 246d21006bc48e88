// @ts-check
/**
 * Knows the streams that run: watches their properties, shows their status, and resets their props if they are lost.
 *
 * The page knows a stream from its `open` to its `end`. `open` brings the properties whose changes the page is to report,
 * with the values that they had when the stream was started, so that a change made in between is noticed. They are those
 * of the conditions of `cancel=`, and behind them those of `watch=`. And `open` brings the props that are to be reset if
 * the server is lost: the page then sets them itself.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {(stream: string, condition: number | 'layout', value: any) => void} OnChange  called with the stream, which
 *     of its conditions has changed, by its place or as 'layout' for its components, and the new value
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, updates, presence, mistakes, reconnect} = flash;
    const {layout, onChange: onRendererChange, resolve, component, stringIds, patchOf, callBody} = flash.renderer;

    /** The streams that have opened and not ended, by id. @type {Map<string, Opening>} */
    const running = new Map();

    /**
     * The streams that are to be started again when a server answers, by callback and match.
     * @type {Map<string, Opening>}
     */
    const toStartAgain = new Map();

    /**
     * The streams that were lost since the last `hello`, by id. The next one says if the server had revoked some.
     * @type {Map<string, Opening>}
     */
    const lost = new Map();

    /** The event callbacks whose streams were lost and are not started again, until a server answers. */
    const toFollowAgain = new Set();

    /** What stands in place of the value of a component that is not in the layout. */
    const MISSING = undefined;

    /**
     * The value of a condition's property; MISSING if its component is not in the layout.
     * @param {Condition} condition
     */
    function read(condition) {
        const ids = resolve(condition.id);
        const values = ids.map((/** @type {Id} */ id) => {
            const found = component(id);
            return found === undefined ? MISSING : found.props[condition.property] ?? null;
        });
        return typeof condition.id === 'string' || ids[0] === condition.id ? values[0] : values;
    }

    /**
     * Report each condition and each watched property that has changed since the last check. A condition that is
     * exempt, on a counter or a bare Input, has not changed when its component comes or goes: nobody has clicked it.
     * @param {Opening} stream
     * @param {OnChange} onChange
     */
    function check(stream, onChange) {
        stream.conditions.forEach((condition, index) => {
            const before = condition.missing ? MISSING : condition.value;
            const found = read(condition);
            // A watched property is null without its component, as in a State.
            const now = condition.watched ? found ?? null : found;
            if (JSON.stringify(now) === JSON.stringify(before)) {
                return;
            }
            condition.missing = now === MISSING;
            condition.value = now;
            if (condition.exempt && (now === MISSING || before === MISSING)) {
                return;
            }
            onChange(stream.stream, index, now ?? null);
        });
    }

    /**
     * After each change of the layout, check the conditions of the streams that run, and whether their components are
     * still in it.
     * @param {OnChange} onChange
     */
    function watch(onChange) {
        let seen = layout();
        const checkAll = () => {
            // While updates are applied, one check after all of them is enough.
            if (layout() !== seen && !updates.applying) {
                seen = layout();
                running.forEach(stream => check(stream, onChange));
                presence.checkSoon();
            }
        };
        presence.onLeft((/** @type {string} */ stream) => endWithComponents(stream, onChange));
        onRendererChange(checkAll);
        updates.onApplied(checkAll);
    }

    /**
     * The layout has none of a stream's components any more: it is to end, and not to be started again.
     * @param {string} stream
     * @param {OnChange} onChange
     */
    function endWithComponents(stream, onChange) {
        const opening = running.get(stream);
        if (opening !== undefined) {
            opening.again = null;
            mistakes.streamLeaves(opening.callback_id);
            onChange(stream, 'layout', null);
        }
    }

    /**
     * Show a status on the hidden component of an event callback.
     * @param {string} callbackId
     * @param {string | null} match
     * @param {string} status
     * @param {string | null} error
     */
    function showStatus(callbackId, match, status, error) {
        /** @type {Record<string, any>} */
        const props = {status, error};
        if (match !== null) {
            props.statuses = patchOf(match, {status, error});
        }
        updates.put([[callbackId, props]]);
    }

    /**
     * `open`: a stream runs.
     * @param {Opening} opening
     * @param {OnChange} onChange
     */
    function open(opening, onChange) {
        running.set(opening.stream, opening);
        toStartAgain.delete(keyOf(opening));
        showStatus(opening.callback_id, opening.match, 'running', null);
        mistakes.streamOpened(opening.callback_id);
        mistakes.checkUpdates(opening.callback_id, opening.props);
        updates.put(opening.props, {...opening, conflate: false});
        presence.open(opening.stream, opening.components);
        presence.update(opening.stream, opening.props);
        check(opening, onChange);
    }

    /**
     * A stream has sent updates: check what they are for, and remember the components. The inbox has them applied.
     * @param {Opening} opening
     * @param {Pair[]} pairs
     */
    function noteUpdates({stream, callback_id}, pairs) {
        reconnect.restarts.reset();
        mistakes.checkUpdates(callback_id, pairs);
        presence.update(stream, pairs);
    }

    /**
     * `end`: a stream is over.
     * @param {Ending} ending
     */
    function end({stream, reason, props, error, handled}) {
        const opening = running.get(stream);
        if (opening === undefined) {
            return;
        }
        running.delete(stream);
        presence.end(stream);
        if (reason === wire.REASONS.SHUTDOWN && opening.again) {
            toStartAgain.set(keyOf(opening), opening);
        }
        mistakes.checkUpdates(opening.callback_id, props);
        updates.put(props, {...opening, conflate: false});
        showStatus(opening.callback_id, opening.match, reason, error && error.message);
        if (error && !handled) {
            mistakes.streamFailed(opening.callback_id, error);
        }
    }

    /**
     * The request that starts a stream was refused, or not answered. This may come without any link.
     * @param {string} callbackId
     * @param {string} message
     */
    function refuseStart(callbackId, message) {
        refuse({callback_id: callbackId, match: null, message, status: null});
        updates.flush();
    }

    /**
     * `refused`: a stream was not started.
     * @param {Refusal} refusal
     */
    function refuse({callback_id, match, message, status}) {
        const runs = [...running.values()].some(stream => stream.callback_id === callback_id && stream.match === match);
        showStatus(callback_id, match, runs ? 'running' : status ?? 'failed', message);
    }

    /**
     * Show on every event callback's hidden component why the server refuses the page's link, or that it takes it.
     * @param {string | null} message  null if it takes it
     */
    function showRefusal(message) {
        const ids = stringIds().filter((/** @type {string} */ id) => id.startsWith('_flash-'));
        for (const id of ids) {
            const found = component(id);
            if (found !== undefined && (message !== null || found.props.refused)) {
                updates.put([[id, {error: message, refused: message !== null}]]);
            }
        }
        updates.flush();
    }

    /**
     * The server is lost, and with it every stream: reset the props that the streams have named for this case.
     * @param {string[]} revoked  the ids of those, or of some lost before, that have ended with `revoked`
     */
    function loseAll(revoked) {
        for (const opening of running.values()) {
            lost.set(opening.stream, opening);
            presence.end(opening.stream);
            updates.drop(opening.stream);
            updates.put(opening.reset, {...opening, conflate: false});
            if (!revoked.includes(opening.stream)) {
                if (opening.again) {
                    toStartAgain.set(keyOf(opening), opening);
                } else {
                    toFollowAgain.add(opening.callback_id);
                }
                showStatus(opening.callback_id, opening.match, wire.REASONS.DISCONNECTED, null);
            }
        }
        running.clear();
        for (const id of revoked) {
            const opening = lost.get(id);
            if (opening !== undefined) {
                toStartAgain.delete(keyOf(opening));
                toFollowAgain.delete(opening.callback_id);
                showStatus(opening.callback_id, opening.match, wire.REASONS.REVOKED, null);
            }
        }
        updates.flush();
    }

    /**
     * The server has said which of the streams that were lost it had revoked.
     * @returns {string[]} the event callbacks of the others that are not started again
     */
    function forgetLost() {
        const found = [...toFollowAgain];
        lost.clear();
        toFollowAgain.clear();
        return found;
    }

    /**
     * The key of a stream: the event callback, and the values that MATCH matched.
     * @param {{callback_id: string, match: string | null}} stream
     */
    function keyOf({callback_id, match}) {
        return `${callback_id} ${match}`;
    }

    /**
     * A server answers: start the streams again that are to outlive their server, with the Inputs as they are now.
     * `reconnect.js` says when.
     * @param {(body: object) => Promise<boolean>} request  sends a start, and says whether the server took it
     */
    function resume(request) {
        if (toStartAgain.size === 0) {
            return;
        }
        const pause = reconnect.restarts.next();
        for (const [key, opening] of toStartAgain) {
            setTimeout(async () => {
                const body = opening.again && toStartAgain.delete(key) ? callBody(opening.again) : null;
                if (body !== null && !(await request(body))) {
                    toStartAgain.set(key, opening);
                    resume(request);
                }
            }, reconnect.jitter(pause));
        }
    }

    /** The hidden component with the status of an event callback. */
    const CallbackComponent = () => null;
    // Dash checks with these whether an Input names a property that exists.
    CallbackComponent.propTypes = Object.fromEntries(
        [
            'id',
            'status',
            'error',
            'statuses',
            'start',
            'refused',
            'name',
            'declared',
            'mistakes',
            'output',
            'resumes'
        ].map(name => [name, () => null])
    );

    Object.assign(flash, {
        streams: {open, noteUpdates, end, refuse, refuseStart, loseAll, forgetLost, resume, showRefusal, watch, running},
        CallbackComponent
    });
})();
