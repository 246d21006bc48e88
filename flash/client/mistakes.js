// @ts-check
/**
 * Reports mistakes in apps that would otherwise go unnoticed, such as updates of components that do not exist.
 *
 * It also reports updates of properties that a component does not have, and the mistakes that the server has found.
 * Each is reported once: in the dev tools if the app has them, else in the console.
 *
 * Dash checks the Inputs and Outputs of callbacks when a page is loaded. What a stream updates is known only when it
 * does, so it is checked then; what the options of its event callback name is checked like Outputs. As with Dash,
 * `suppress_callback_exceptions` allows any id, and the ids of `validation_layout` may come and go. A component has
 * `APPEAR_TIMEOUT` to appear, since a stream may update what it has just inserted. One that was removed under its stream
 * has `LEAVE_TIMEOUT`, since the stream may be about to end for that.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {[string, Id, string]} Named  an option of an event callback, and a component and property that it names
 * @typedef {{callback: string, option: string, id: Id, property: string}} Use  of a property, by an event callback;
 *     `option` is '' if it updates the property, 'removed' if it does so after the component has left the layout
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {config, nameOf, isPattern, isPatch, resolve, component, stringIds, propTypes} = flash.renderer;
    const {showError, onResolved, firstOutputOf} = flash.renderer;

    /** Milliseconds that a component has to appear. */
    const APPEAR_TIMEOUT = 500;
    /** Milliseconds in which `presence.js` ends a stream whose components have left, as it does after a second. */
    const LEAVE_TIMEOUT = 1_500;
    /** The number of properties that are remembered of each event callback. */
    const MAX_PROPERTIES = 10_000;
    /** The number of characters of an answer that are shown as the error of a stream. */
    const MAX_ERROR = 1000;

    const {src, nonce} = /** @type {HTMLScriptElement} */ (document.currentScript);
    /** The address of the script that tells what is wrong: `mistake_checks.js`. */
    const CHECKS = new URL('mistake_checks.js', src).href;

    /** Settled when that script is loaded; undefined before it is needed. @type {Promise<any> | undefined} */
    let checksLoaded;
    /** The messages that were shown. @type {Set<string>} */
    const shownMessages = new Set();
    /** The properties that each event callback has updated, by its id. @type {Map<string, Set<string>>} */
    const updated = new Map();
    /** The event callback that updates a component, by the component's id. @type {Map<string, string>} */
    const senders = new Map();
    /** The components that have been in the layout. @type {Set<string>} */
    const seenComponents = new Set();
    /** Those of them that were updated after they had left it. @type {Set<string>} */
    const goneComponents = new Set();
    /** The event callbacks whose streams are being ended because their components have left. @type {Set<string>} */
    const leavingIds = new Set();
    /** The components that were not in the layout when an update for them came. @type {Set<string>} */
    const absentComponents = new Set();
    /** The uses to check, by the milliseconds that they have. @type {Map<number, Use[]>} */
    const pending = new Map();
    /** The ids that are strings of the layout that the page began with. @type {Set<string>} */
    let firstIds = new Set();

    /**
     * What messages call an event callback.
     * @param {string} callback
     */
    function callbackName(callback) {
        return component(callback)?.props.name ?? callback.replace('_flash-', '');
    }

    /**
     * Show a message, unless it was shown before.
     * @param {string} message
     * @param {string} [html]  for the dev tools
     */
    function showOnce(message, html) {
        if (shownMessages.has(message)) {
            return;
        }
        shownMessages.add(message);
        show(message, html);
    }

    /**
     * Show a message in the dev tools if the app has them, else in the console.
     * @param {string} message
     * @param {string} [html]  for the dev tools
     */
    function show(message, html) {
        if (config().hasDevTools) {
            showError(message, html ?? message);
        } else {
            console.warn(`Flash: ${message}`);
        }
    }

    /**
     * A stream has failed, and no `on_error` has handled it.
     * @param {string} callback
     * @param {Failure} failure
     */
    function streamFailed(callback, {message, html}) {
        if (config().hasDevTools) {
            show(`Stream failed: ${message}`, html ?? message);
        } else {
            console.error(`Flash: a stream of ${callbackName(callback)} failed.`);
        }
    }

    /**
     * `mistake`: the server has found a mistake.
     * @param {Mistake} found
     */
    function report({message}) {
        showOnce(message);
    }

    /**
     * A stream has sent updates. Properties that its event callback has not updated before are checked.
     * @param {string} callback
     * @param {Pair[]} pairs
     */
    function checkUpdates(callback, pairs) {
        let known = updated.get(callback);
        if (known === undefined || known.size > MAX_PROPERTIES) {
            if (known !== undefined) {
                // An app that makes new ids for ever must not fill the page's memory with what is known of them.
                [senders, seenComponents, goneComponents].forEach(memory => memory.clear());
            }
            updated.set(callback, (known = new Set()));
        }
        for (const [id, props] of pairs) {
            const name = nameOf(id);
            for (const property in props) {
                const key = `${name}.${property}`;
                if (!known.has(key)) {
                    known.add(key);
                    senders.set(name, callback);
                    if (component(id) !== undefined) {
                        seenComponents.add(name);
                    }
                    checkLater({callback, option: '', id, property});
                }
            }
        }
    }

    /**
     * A stream has opened.
     * @param {string} callback
     */
    function streamOpened(callback) {
        leavingIds.delete(callback);
    }

    /**
     * A stream is to end because the layout has none of its components any more. It may send updates until the server
     * has ended it.
     * @param {string} callback
     */
    function streamLeaves(callback) {
        leavingIds.add(callback);
    }

    /**
     * An update was for a component that is not in the layout.
     * @param {Id} id
     * @param {Record<string, any>} props
     */
    function componentMissing(id, props) {
        const callback = senders.get(nameOf(id));
        absentComponents.add(nameOf(id));
        if (callback !== undefined && seenComponents.has(nameOf(id)) && !goneComponents.has(nameOf(id))) {
            goneComponents.add(nameOf(id));
            for (const property in props) {
                checkLater({callback, option: 'removed', id, property});
            }
        }
    }

    /**
     * Check the use of a property when its component has had the time to appear, or its stream to end.
     * @param {Use} use
     */
    function checkLater(use) {
        const timeout = use.option === 'removed' ? LEAVE_TIMEOUT : APPEAR_TIMEOUT;
        const others = pending.get(timeout);
        if (others !== undefined) {
            others.push(use);
        } else {
            pending.set(timeout, [use]);
            setTimeout(checkAll, timeout, timeout);
        }
    }

    /**
     * Check the uses whose time is over.
     * @param {number} timeout  the milliseconds that they had
     */
    function checkAll(timeout) {
        const doubtful = (pending.get(timeout) ?? []).filter(use => !isFine(use));
        pending.delete(timeout);
        if (doubtful.length > 0) {
            withChecks(checks => doubtful.forEach(checks.check));
        }
    }

    /**
     * Whether nothing is wrong with a use at first sight.
     * @param {Use} use
     */
    function isFine({option, id, property}) {
        const there = resolve(id).map(component).filter(Boolean);
        if (there.length === 0) {
            // It may have been removed since it was updated, by an update of the same stream for instance. An update of
            // one that had been removed is a use of its own.
            const name = nameOf(id);
            const wasThere =
                seenComponents.has(name) || (option === '' ? !absentComponents.has(name) : firstIds.has(name));
            return (wasThere && option !== 'removed') || isPattern(id) || config().allowsAnyId;
        }
        seenComponents.add(nameOf(id));
        return there.every((/** @type {Component} */ found) => hasProperty(found, property));
    }

    /**
     * Whether a component has a property, by the rule by which Dash checks those of Inputs and Outputs.
     * @param {Component} found
     * @param {string} property
     */
    function hasProperty(found, property) {
        const valid = propTypes(found);
        return (
            !valid ||
            property in valid ||
            Object.keys(valid).some(name => name.endsWith('*') && property.startsWith(name.slice(0, -1)))
        );
    }

    /**
     * Call a function with the script that tells what is wrong. It is loaded when something may be.
     * @param {(checks: any) => void} then
     */
    function withChecks(then) {
        checksLoaded ??= new Promise((resolve, reject) => {
            const script = document.createElement('script');
            script.src = CHECKS;
            script.nonce = nonce;
            script.onload = resolve;
            script.onerror = () => reject(new Error(`${CHECKS} cannot be loaded.`));
            document.head.append(script);
        });
        checksLoaded.then(
            () => then(flash.mistakeChecks),
            error => console.error('Flash: there are mistakes that cannot be told:', error)
        );
    }

    /**
     * An update could not be applied.
     * @param {Id} id
     * @param {Record<string, any>} props
     * @param {any} error
     */
    function updateFailed(id, props, error) {
        const there = component(id)?.props ?? {};
        const empty = Object.keys(props).filter(name => isPatch(props[name]) && there[name] === undefined);
        withChecks(checks => checks.updateFailed(id, empty, error));
    }

    /**
     * The event callback whose stream a Dash callback starts; undefined if it starts none.
     * @param {any} callback  as the renderer has it, or the body of a request that calls it
     * @returns {string | undefined}  its id
     */
    function startedBy(callback) {
        const never = callback.inputs.find((/** @type {any} */ {id, property}) => property === 'there' && isOwn(id));
        const start = [callback.outputs ?? []].flat().find((/** @type {any} */ {id, property}) => property === 'start' && isOwn(id));
        if (never || start) {
            return start ? start.id : never.id.replace(/-never$/, '');
        }
        if (!callback.state.some((/** @type {any} */ {id}) => id === '_flash')) {
            return undefined;
        }
        // A streaming callback: Dash knows it by its Outputs.
        const output = firstOutputOf(callback);
        return stringIds().find((/** @type {string} */ id) => isOwn(id) && component(id)?.props.output === output);
    }

    /** Whether a component is the hidden one of an event callback. @param {Id} id */
    function isOwn(id) {
        return typeof id === 'string' && id.startsWith('_flash-');
    }

    /**
     * The sentence with which the server has refused a request.
     * @param {any} error
     */
    async function sentenceOf(error) {
        if (typeof error?.clone !== 'function') {
            return error?.message ?? String(error);
        }
        const text = (await error.clone().text()).trim();
        // Other answers are HTML pages, of the server or of a proxy.
        if (text && !text.startsWith('<')) {
            return text.slice(0, MAX_ERROR);
        }
        return `The server has not started it, and answered ${error.status}.`;
    }

    /**
     * Call a function for each start that the server has refused, or has not answered.
     * @param {(callback: string, message: string) => void} onRefusal
     */
    function watchRefusals(onRefusal) {
        onResolved((/** @type {any} */ callback, /** @type {any} */ result) => {
            const started = result.error === undefined ? undefined : startedBy(callback);
            if (started !== undefined) {
                sentenceOf(result.error).then(message => onRefusal(started, message));
            }
        });
    }

    /**
     * The page is there: check what the options of event callbacks name.
     * @param {(callback: string, message: string) => void} onRefusal  called when the server has refused a start
     */
    function begin(onRefusal) {
        watchRefusals(onRefusal);
        firstIds = new Set(stringIds());
        for (const callback of [...firstIds].filter(isOwn)) {
            const named = /** @type {Named[]} */ (component(callback)?.props.declared ?? []);
            if (config().hasDevTools) {
                /** @type {string[]} */ (component(callback)?.props.mistakes ?? []).forEach(text => showOnce(text));
            }
            named.forEach(([option, id, property]) => checkLater({callback, option, id, property}));
        }
    }

    Object.assign(flash, {
        mistakes: {
            begin,
            checkUpdates,
            componentMissing,
            updateFailed,
            streamOpened,
            streamLeaves,
            streamFailed,
            report,
            startedBy,
            /** What `mistake_checks.js` needs. */
            forChecks: {
                showOnce,
                callbackName,
                hasProperty,
                senders,
                leavingIds,
                firstIds: () => firstIds
            }
        }
    });
})();
